package media_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"konsil/homeserver/media"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const (
	server = id.ServerName("klinik.test")
	anna   = id.UserID("@anna:klinik.test")
	boris  = id.UserID("@boris:klinik.test")
)

func open(t *testing.T, url string, change func(*media.Config)) (*media.Repository, string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: url, Domain: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	cfg := media.Config{Server: server, Store: db, Dir: t.TempDir()}
	if change != nil {
		change(&cfg)
	}
	return media.New(cfg), cfg.Dir
}

func each(t *testing.T, change func(*media.Config), test func(t *testing.T, r *media.Repository, dir string)) {
	dbtest.Each(t, func(t *testing.T, url string) {
		r, dir := open(t, url, change)
		test(t, r, dir)
	})
}

func read(t *testing.T, f *media.File) []byte {
	t.Helper()
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func code(err error) string {
	e, ok := mxerr.As(err)
	if !ok {
		return ""
	}
	return e.Code
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestWhatIsUploadedComesBack(t *testing.T) {
	each(t, nil, func(t *testing.T, r *media.Repository, _ string) {
		want := bytes.Repeat([]byte("ciphertext "), 10_000)
		mediaID, err := r.Upload(t.Context(), media.Upload{User: anna, ContentType: "application/octet-stream", Name: "Befund ☕.pdf", Body: bytes.NewReader(want)})
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Open(t.Context(), server, mediaID, 0)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name != "Befund ☕.pdf" || f.Size != int64(len(want)) {
			t.Errorf("name %q, size %d", f.Name, f.Size)
		}
		if got := read(t, f); !bytes.Equal(got, want) {
			t.Error("other bytes came back")
		}
	})
}

// endless never ends, as a chunked upload may.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestB02UploadsEndAtTheLimitAndLeaveNothing(t *testing.T) {
	limit := func(cfg *media.Config) { cfg.MaxUpload = 1000 }
	each(t, limit, func(t *testing.T, r *media.Repository, dir string) {
		for name, body := range map[string]io.Reader{
			"one byte more": bytes.NewReader(make([]byte, 1001)),
			"without end":   endless{},
		} {
			if _, err := r.Upload(t.Context(), media.Upload{User: anna, Body: body}); code(err) != mxerr.CodeTooLarge {
				t.Errorf("%s: %v", name, err)
			}
		}
		broken := io.MultiReader(strings.NewReader("half"), errReader{})
		if _, err := r.Upload(t.Context(), media.Upload{User: anna, Body: broken}); err == nil {
			t.Error("a broken upload was taken")
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if _, err := r.Upload(t.Context(), media.Upload{User: anna, Body: bytes.NewReader(make([]byte, 1000))}); err != nil {
			t.Errorf("exactly the limit: %v", err)
		}
		if _, err := r.Upload(t.Context(), media.Upload{User: anna, Body: strings.NewReader("")}); err != nil {
			t.Errorf("an empty file: %v", err)
		}
	})
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

// bomb is a PNG of a few bytes whose header claims to be enormous.
func bomb(width, height uint32) []byte {
	var header [13]byte
	binary.BigEndian.PutUint32(header[0:], width)
	binary.BigEndian.PutUint32(header[4:], height)
	header[8], header[9] = 8, 6
	out := bytes.NewBufferString("\x89PNG\r\n\x1a\n")
	_ = binary.Write(out, binary.BigEndian, uint32(len(header)))
	chunk := append([]byte("IHDR"), header[:]...)
	out.Write(chunk)
	_ = binary.Write(out, binary.BigEndian, crc32.ChecksumIEEE(chunk))
	return out.Bytes()
}

func TestB02PictureBombsAreNotDecoded(t *testing.T) {
	r, _ := open(t, "sqlite:"+filepath.Join(t.TempDir(), "x.db"), nil)
	for name, body := range map[string][]byte{
		"50,000 x 50,000":  bomb(50_000, 50_000),
		"overflowing":      bomb(1<<31-1, 1<<31-1),
		"no picture":       []byte("%PDF-1.7 polyglot"),
		"svg":              []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>`),
		"empty":            {},
		"a truncated head": bomb(10, 10)[:20],
	} {
		mediaID, err := r.Upload(t.Context(), media.Upload{User: anna, ContentType: "image/png", Body: bytes.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Thumbnail(t.Context(), server, mediaID, 100, 100, media.Scale, 0); code(err) != mxerr.CodeUnknown {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestB02MediaIDsNeverBecomePaths(t *testing.T) {
	r, dir := open(t, "sqlite:"+filepath.Join(t.TempDir(), "x.db"), nil)
	secret := filepath.Join(filepath.Dir(dir), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mediaID := range []string{"../secret", "..", ".", "", "a/b", "a\x00b", strings.Repeat("x", 256), "a.b"} {
		if f, err := r.Open(t.Context(), server, mediaID, 0); code(err) != mxerr.CodeNotFound {
			t.Errorf("%q: %v %v", mediaID, f, err)
		}
	}
}

func photo(t *testing.T, width, height int, encode func(io.Writer, image.Image) error) []byte {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{R: 200, A: 255}
			if x >= width/2 {
				c = color.RGBA{B: 200, A: 255}
			}
			picture.SetRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := encode(&out, picture); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func asJPEG(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }

func TestThumbnailsHaveTheirSizeAndShowThePicture(t *testing.T) {
	each(t, nil, func(t *testing.T, r *media.Repository, _ string) {
		for _, c := range []struct {
			name          string
			body          []byte
			width, height int
			method        media.Method
			wantW, wantH  int
		}{
			{"jpeg scaled", photo(t, 1000, 500, asJPEG), 300, 200, media.Scale, 320, 160},
			{"png scaled", photo(t, 400, 800, png.Encode), 320, 240, media.Scale, 120, 240},
			{"jpeg cropped", photo(t, 600, 300, asJPEG), 32, 32, media.Crop, 32, 32},
			{"png cropped", photo(t, 500, 900, png.Encode), 90, 90, media.Crop, 96, 96},
			{"never enlarged", photo(t, 20, 10, png.Encode), 640, 480, media.Scale, 20, 10},
			{"larger than all", photo(t, 1800, 1350, asJPEG), 5000, 5000, media.Scale, 800, 600},
		} {
			mediaID, err := r.Upload(t.Context(), media.Upload{User: anna, ContentType: "image/x", Body: bytes.NewReader(c.body)})
			if err != nil {
				t.Fatal(err)
			}
			var first []byte
			for range 2 { // made, then kept
				f, err := r.Thumbnail(t.Context(), server, mediaID, c.width, c.height, c.method, 0)
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				raw := read(t, f)
				if f.Size != int64(len(raw)) {
					t.Errorf("%s: says %d bytes, has %d", c.name, f.Size, len(raw))
				}
				if first != nil && !bytes.Equal(first, raw) {
					t.Errorf("%s: the kept one differs", c.name)
				}
				first = raw
			}
			got, _, err := image.Decode(bytes.NewReader(first))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if b := got.Bounds(); b.Dx() != c.wantW || b.Dy() != c.wantH {
				t.Errorf("%s: %v, want %d x %d", c.name, b, c.wantW, c.wantH)
			}
			b := got.Bounds()
			left, _, _, _ := got.At(b.Min.X+1, b.Min.Y+1).RGBA()
			_, _, right, _ := got.At(b.Max.X-2, b.Max.Y-2).RGBA()
			if left < 0x8000 || right < 0x8000 {
				t.Errorf("%s: the colours are not where they were: left red %x, right blue %x", c.name, left, right)
			}
		}
	})
}

func TestAnAnnouncedFileArrivesOnce(t *testing.T) {
	each(t, nil, func(t *testing.T, r *media.Repository, _ string) {
		mediaID, expires, err := r.Create(t.Context(), anna)
		if err != nil {
			t.Fatal(err)
		}
		if !expires.After(time.Now()) {
			t.Errorf("expires %v", expires)
		}
		if _, err := r.Open(t.Context(), server, mediaID, 0); code(err) != "M_NOT_YET_UPLOADED" {
			t.Errorf("before its bytes: %v", err)
		}
		up := func(user id.UserID) media.Upload {
			return media.Upload{User: user, ContentType: "text/plain", Body: strings.NewReader("late")}
		}
		if err := r.Complete(t.Context(), server, mediaID, up(boris)); code(err) != mxerr.CodeForbidden {
			t.Errorf("somebody else's upload: %v", err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			f, err := r.Open(t.Context(), server, mediaID, time.Minute)
			if err != nil {
				t.Errorf("who waited: %v", err)
				return
			}
			if got := read(t, f); string(got) != "late" {
				t.Errorf("who waited got %q", got)
			}
		})
		if err := r.Complete(t.Context(), server, mediaID, up(anna)); err != nil {
			t.Fatal(err)
		}
		waiting.Wait()
		if err := r.Complete(t.Context(), server, mediaID, up(anna)); code(err) != "M_CANNOT_OVERWRITE_MEDIA" {
			t.Errorf("a second upload: %v", err)
		}
	})
}

func TestAnnouncementsExpire(t *testing.T) {
	now := clock.NewFake(time.Time{})
	r, _ := open(t, "sqlite:"+filepath.Join(t.TempDir(), "x.db"), func(cfg *media.Config) { cfg.Clock = now })
	mediaID, _, err := r.Create(t.Context(), anna)
	if err != nil {
		t.Fatal(err)
	}
	now.Advance(25 * time.Hour)
	err = r.Complete(t.Context(), server, mediaID, media.Upload{User: anna, Body: strings.NewReader("too late")})
	if code(err) != mxerr.CodeNotFound {
		t.Error(err)
	}
}

func TestAUserAnnouncesOnlySoMany(t *testing.T) {
	r, _ := open(t, "sqlite:"+filepath.Join(t.TempDir(), "x.db"), nil)
	for range 100 {
		if _, _, err := r.Create(t.Context(), anna); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Create(t.Context(), anna); code(err) != mxerr.CodeLimitExceeded {
		t.Error(err)
	}
	if _, _, err := r.Create(t.Context(), boris); err != nil {
		t.Errorf("another user: %v", err)
	}
}

func FuzzThumbnail(f *testing.F) {
	f.Add(bomb(3, 3))
	f.Add([]byte("GIF89a"))
	f.Add([]byte("RIFF\x24\x00\x00\x00WEBPVP8 "))
	f.Fuzz(func(t *testing.T, body []byte) {
		dir := t.TempDir()
		db, err := store.Open(context.Background(), store.Config{URL: "sqlite:" + filepath.Join(dir, "x.db"), Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r := media.New(media.Config{Server: server, Store: db, Dir: dir, MaxPixels: 1 << 20})
		mediaID, err := r.Upload(context.Background(), media.Upload{User: anna, Body: bytes.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		if th, err := r.Thumbnail(context.Background(), server, mediaID, 96, 96, media.Crop, 0); err == nil {
			_ = th.Close()
		}
	})
}

func BenchmarkFirstThumbnail(b *testing.B) {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewYCbCr(image.Rect(0, 0, 1600, 1200), image.YCbCrSubsampleRatio420), nil); err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(b.Context(), store.Config{URL: "sqlite:" + filepath.Join(b.TempDir(), "x.db"), Domain: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r := media.New(media.Config{Server: server, Store: db, Dir: b.TempDir()})
	for b.Loop() {
		mediaID, err := r.Upload(b.Context(), media.Upload{User: anna, Body: bytes.NewReader(out.Bytes())})
		if err != nil {
			b.Fatal(err)
		}
		f, err := r.Thumbnail(b.Context(), server, mediaID, 640, 480, media.Scale, 0)
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
	}
}
