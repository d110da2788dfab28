package nf

import "fmt"

// Class is what conntrack calls a packet: which entry it belongs to and in which direction, or why it belongs to none
// (include/uapi/linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_info). Rules match it by "ct state" and
// "ct direction". A Class belongs to one packet, a Status to an entry.
type Class uint8

// The classes, with the kernel's names. The zero Class means that it is not known.
const (
	ClassUnknown          Class = iota
	ClassEstablished            // of a flow with packets in both directions, in the original direction
	ClassRelated                // begins a flow that another one expects, or is an ICMP error about the original direction
	ClassNew                    // of a flow without replies
	ClassEstablishedReply       // in the reply direction
	ClassRelatedReply           // an ICMP error about the reply direction
	ClassInvalid                // conntrack looked at it and gave it no entry
	ClassUntracked              // notrack
)

var classNames = [...]string{
	"", "ESTABLISHED", "RELATED", "NEW", "ESTABLISHED_REPLY", "RELATED_REPLY", "INVALID", "UNTRACKED",
}

// Classes returns all classes that a packet can have behind conntrack.
func Classes() []Class {
	return []Class{ClassNew, ClassEstablished, ClassEstablishedReply, ClassRelated, ClassRelatedReply, ClassInvalid, ClassUntracked}
}

// ClassOf returns the class that the kernel numbers as an enum ip_conntrack_info; ClassUnknown for other numbers.
func ClassOf(info uint32) Class {
	switch info {
	case 0, 1, 2, 3, 4: // IP_CT_ESTABLISHED to IP_CT_RELATED_REPLY
		return ClassEstablished + Class(info)
	case 7: // IP_CT_UNTRACKED
		return ClassUntracked
	}
	return ClassUnknown
}

// ClassNamed is the inverse of Class.String.
func ClassNamed(name string) (Class, bool) {
	for _, c := range Classes() {
		if c.String() == name {
			return c, true
		}
	}
	return ClassUnknown, false
}

// String returns the kernel's name without its prefix: "NEW", "ESTABLISHED_REPLY"; empty for the zero Class.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// State returns the class without its direction, as "ct state" matches it; 0 for the zero Class.
func (c Class) State() CTState {
	switch c {
	case ClassNew:
		return StateNew
	case ClassEstablished, ClassEstablishedReply:
		return StateEstablished
	case ClassRelated, ClassRelatedReply:
		return StateRelated
	case ClassInvalid:
		return StateInvalid
	case ClassUntracked:
		return StateUntracked
	}
	return 0
}

// Dir returns the direction of the packet; 0 if it has no entry.
func (c Class) Dir() Direction {
	switch c {
	case ClassNew, ClassEstablished, ClassRelated:
		return Original
	case ClassEstablishedReply, ClassRelatedReply:
		return Reply
	}
	return 0
}
