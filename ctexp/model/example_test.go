package model_test

import (
	"fmt"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The smallest conversation in which an answer comes too late, found without a kernel: a function says which fail.
func ExampleShrink() {
	c := model.Conversation{Proto: nf.UDP, Steps: []model.Step{
		{Len: 20},
		{From: model.B, Len: 40},
		{Pass: 31 * time.Second},
		{Len: 20},
		{From: model.B},
	}}
	late := func(c model.Conversation) bool {
		passed := time.Duration(0)
		for _, s := range c.Steps {
			if passed += s.Pass; s.Pass == 0 && s.From == model.B && passed > 30*time.Second {
				return true
			}
		}
		return false
	}

	fmt.Print(model.Shrink(c, late))
	// Output:
	//  1 31s pass
	//  2 B < udp
}

// A conversation as Go source, as a failure prints it.
func ExampleConversation_GoString() {
	c := model.Conversation{Proto: nf.TCP, Steps: []model.Step{
		{Flags: packet.FlagSYN, Seq: 1, Window: 65535},
		{Pass: 121 * time.Second},
		{From: model.B, Flags: packet.FlagRST | packet.FlagACK, Ack: 2},
	}}

	fmt.Printf("%#v\n", c)
	// Output:
	// model.Conversation{Proto: nf.TCP, Steps: []model.Step{
	// 	{Flags: packet.FlagSYN, Seq: 1, Window: 65535},
	// 	{Pass: 121 * time.Second},
	// 	{From: model.B, Flags: packet.FlagRST | packet.FlagACK, Ack: 2},
	// }}
}
