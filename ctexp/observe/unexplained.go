package observe

// NoReason is the text of a Reason of a Record's Unexplained.
const NoReason = "the kernel gives no reason"

// unexplained returns which of the packets that conntrack called INVALID have no reason, those of frames.
func unexplained(frames []Frame, reasons, called []Reason) []Reason {
	if len(called) == 0 {
		return nil
	}
	said, _ := ReasonsOf(frames, reasons)
	invalid, _ := ReasonsOf(frames, called)
	var none []Reason
	for i := range frames {
		if len(invalid[i]) > 0 && len(said[i]) == 0 {
			r := invalid[i][0]
			r.Text = NoReason
			none = append(none, r)
		}
	}
	return none
}

// unexplainedMoments are reasonMoments of packets without a reason.
func unexplainedMoments(frames []Frame, unexplained []Reason) []Moment {
	of, _ := ReasonsOf(frames, unexplained)
	var moments []Moment
	for i, some := range of {
		for _, r := range some {
			moments = append(moments, Moment{Time: r.Time, Kind: KindReason, Frame: i + 1, Text: "INVALID; " + r.Text})
		}
	}
	return moments
}
