package roomver_test

import (
	"reflect"
	"strconv"
	"testing"

	"konsil/matrix/roomver"
)

// Each feature, by the version that brought it and the last one that has it, as the specification's feature matrix and
// the page of each version tell. RV 12 #feature-matrix
func TestFeatures(t *testing.T) {
	for name, span := range map[string][2]int{
		"Stable": {1, 12}, "EnforceKeyValidity": {5, 12}, "StrictJSON": {6, 12}, "CharacterLimits": {1, 10}, "AliasesAuth": {1, 5}, "RedactionAuth": {1, 2},
		"NotificationsAuth": {6, 12}, "Knock": {7, 12}, "Restricted": {8, 12}, "KnockRestricted": {10, 12}, "IntegerPowerLevels": {10, 12},
		"CreatorField": {1, 10}, "HashedRoomID": {12, 12}, "PrivilegedCreators": {12, 12}, "RedactsInContent": {11, 12},
		"KeepAliases": {1, 5}, "KeepAllow": {8, 12}, "KeepAuthorisedVia": {9, 12}, "KeepOrigin": {1, 10}, "KeepCreateContent": {11, 12},
		"KeepThirdPartySigned": {11, 12}, "KeepInviteLevel": {11, 12}, "KeepRedacts": {11, 12}, "OwnedState": {0, 0},
	} {
		for i, v := range roomver.All() {
			want := i+1 >= span[0] && i+1 <= span[1]
			if got := reflect.ValueOf(*v).FieldByName(name).Bool(); got != want {
				t.Errorf("version %s: %s is %v", v.ID, name, got)
			}
		}
	}
	flags := 0
	typ := reflect.TypeFor[roomver.Version]()
	for i := range typ.NumField() {
		if typ.Field(i).Type.Kind() == reflect.Bool {
			flags++
		}
	}
	if flags != 24 {
		t.Errorf("%d flags, not all of them in this test", flags)
	}
}

func TestFormats(t *testing.T) {
	ids := []roomver.EventIDFormat{0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2}
	state := []roomver.StateResAlgorithm{0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}
	all := roomver.All()
	if len(all) != 12 {
		t.Fatalf("%d versions", len(all))
	}
	for i, v := range all {
		if v.ID != strconv.Itoa(i+1) || v.String() != v.ID || roomver.Names()[i] != v.ID || v.EventIDs != ids[i] || v.StateRes != state[i] || v.HashedEventIDs() != (i >= 2) {
			t.Errorf("%+v", v)
		}
		if got, ok := roomver.Get(v.ID); !ok || got != v {
			t.Errorf("%s: %p, %p", v.ID, got, v)
		}
	}
	for _, name := range []string{"", "0", "13", "01", "1 ", "org.example.x"} {
		if v, ok := roomver.Get(name); ok {
			t.Errorf("%q: %v", name, v)
		}
	}
}

func TestExperiments(t *testing.T) {
	for i, v := range roomver.Experiments() {
		if v.Stable || !v.OwnedState {
			t.Errorf("%+v", v)
		}
		if got, ok := roomver.Get(v.ID); !ok || got != v || roomver.Names()[len(roomver.All())+i] != v.ID {
			t.Errorf("%s: %p, %p", v.ID, got, v)
		}
	}
	ten, _ := roomver.Get("10")
	owned, _ := roomver.Get("org.matrix.msc3757.10")
	same := *owned
	same.ID, same.Stable, same.OwnedState = "10", true, false
	if same != *ten {
		t.Errorf("%+v differs from %+v", owned, ten)
	}
}
