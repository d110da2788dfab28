package dropreason

// OpenWith is Open with a given ring size in bytes.
var OpenWith = openWith

// Hold stops a Watcher from reading until release is called.
func Hold(w *Watcher) (release func()) {
	w.mu.Lock()
	return w.mu.Unlock
}
