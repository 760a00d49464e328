package canonical

// Object calls f for each member of the object src, in the order they stand there; value is a slice of src. An error of
// f ends the walk and is returned. src may be foreign: what is no object is an ErrSyntax.
func Object(src []byte, f func(key string, value []byte) error) error { return ErrSyntax }

// Array calls f for each element of the array src.
func Array(src []byte, f func(value []byte) error) error { return ErrSyntax }

// Get finds the value at a path of keys through nested objects. The value is a slice of src.
func Get(src []byte, path ...string) (value []byte, found bool) { return nil, false }

// GetString is the string at a path; false if there is none or it is no string.
func GetString(src []byte, path ...string) (string, bool) { return "", false }

// GetInt is the integer at a path; false if there is none or it is no integer.
func GetInt(src []byte, path ...string) (int64, bool) { return 0, false }

// GetBool is the boolean at a path; false if there is none or it is no boolean.
func GetBool(src []byte, path ...string) (value, found bool) { return false, false }

// String decodes a JSON string.
func String(value []byte) (string, bool) { return "", false }

// Int decodes a JSON integer: no fraction, no exponent, within 64 bits.
func Int(value []byte) (int64, bool) { return 0, false }

// IsObject reports whether the value starts an object.
func IsObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// IsString reports whether the value starts a string.
func IsString(value []byte) bool { return len(value) > 0 && value[0] == '"' }

// AppendString appends s as a canonical JSON string. Bytes that are no UTF-8 become U+FFFD.
func AppendString[S ~string](dst []byte, s S) []byte { return dst }
