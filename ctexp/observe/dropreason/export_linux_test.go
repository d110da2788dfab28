package dropreason

// OpenWith is Open with a ring of that many bytes.
var OpenWith = openWith

// Hold keeps a Watcher from reading until release is called.
func Hold(w *Watcher) (release func()) {
	w.mu.Lock()
	return w.mu.Unlock
}
