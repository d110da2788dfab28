package mutant

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// what returns what each function of the switch makes of the same operands if mutant 1 is on, or off.
func what(t *testing.T, isOn bool) map[string]any {
	t.Helper()
	before := on
	defer func() { on = before }()
	on = 0
	if isOn {
		on = 1
	}
	yes := func() bool { return true }
	return map[string]any{
		"On":           On(1),
		"other":        On(2),
		"Not":          Not(1, true),
		"Err":          Err(1, os.ErrExist) != nil,
		"And":          And(1, false, yes),
		"Or":           Or(1, false, yes),
		"Less":         []bool{Less(1, 1, 2), Less(1, 2, 2), Less(1, 3, 2)},
		"LessEqual":    []bool{LessEqual(1, 1, 2), LessEqual(1, 2, 2), LessEqual(1, 3, 2)},
		"Greater":      []bool{Greater(1, 1, 2), Greater(1, 2, 2), Greater(1, 3, 2)},
		"GreaterEqual": []bool{GreaterEqual(1, 1, 2), GreaterEqual(1, 2, 2), GreaterEqual(1, 3, 2)},
		"Add":          Add(1, 5, 3),
		"Sub":          Sub(1, 5, 3),
		"Const":        Const[uint8](1, 255),
	}
}

func TestSwitchTurnsMutantsOn(t *testing.T) {
	got := []map[string]any{what(t, false), what(t, true)}

	want := []map[string]any{{
		"On": false, "other": false, "Not": true, "Err": true, "And": false, "Or": true, "Add": 8, "Sub": 2, "Const": uint8(255),
		"Less": []bool{true, false, false}, "LessEqual": []bool{true, true, false},
		"Greater": []bool{false, false, true}, "GreaterEqual": []bool{false, true, true},
	}, {
		"On": true, "other": false, "Not": false, "Err": false, "And": true, "Or": false, "Add": 2, "Sub": 8, "Const": uint8(0),
		"Less": []bool{true, true, false}, "LessEqual": []bool{true, false, false},
		"Greater": []bool{false, true, true}, "GreaterEqual": []bool{false, false, true},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mutant off, on (-want +got):\n%s", diff)
	}
}

func TestReachedNumbersAreRecordedOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reached")
	before := record
	t.Cleanup(func() { record = before })

	for range 2 { // two processes
		record = newRecorder(file)
		t.Cleanup(func() { record.file.Close() })
		On(7)
		Err(3, errors.New("x"))
		On(7)
	}

	got, err := os.ReadFile(file)
	if diff := cmp.Diff("7\n3\n7\n3\n", string(got)); diff != "" || err != nil {
		t.Errorf("recorded (-want +got):\n%s%v", diff, err)
	}
}
