package model_test

import (
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestReproducer(t *testing.T) {
	model.Agree(t, model.Kernel{Liberal: true}, model.Conversation{Proto: nf.TCP, Steps: []model.Step{
		{Flags: packet.FlagSYN, Seq: 1, Window: 1000, Options: []packet.TCPOption{{Kind: 2, Data: []byte{0x5, 0xb4}}, packet.SACKPermitted(), packet.WindowScale(7)}},
		{From: model.B, Flags: packet.FlagSYN | packet.FlagACK, Seq: 1, Ack: 2, Window: 65535, Options: []packet.TCPOption{packet.WindowScale(2)}},
		{Flags: packet.FlagACK, Seq: 2, Ack: 2, Window: 65535},
		{From: model.B, Flags: packet.FlagPSH | packet.FlagACK, Seq: 2, Ack: 2, Len: 100, BadSum: true},
		{Pass: 432001 * time.Second},
		{Flags: packet.FlagACK, Seq: 2, Ack: 102, Window: 65535, Options: []packet.TCPOption{{Kind: 5, Data: []byte{0x0, 0x0, 0x0, 0xc8, 0x0, 0x0, 0x1, 0x2c}}}},
	}})
}
