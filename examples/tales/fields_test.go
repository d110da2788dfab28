package main

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFieldsKeepTheirOrderInJSON(t *testing.T) {
	t.Parallel()
	want := fields{{"raw", 10}, {"logged", true}, {"synacks", []int{7, 8, 7}}, {"state", "SYN_RECV"}, {"evicted", 0}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); got != `{"raw":10,"logged":true,"synacks":[7,8,7],"state":"SYN_RECV","evicted":0}` {
		t.Errorf("JSON %s", got)
	}
	var got fields
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(field{})); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
}

func TestNoFieldsAreAnEmptyObject(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(result{})
	want := `{"id":"","claim":"","article":{},"got":{},"why":"","kernel":"","backend":""}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
