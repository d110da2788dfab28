package main

// config is what the virtual machine is told.
type config struct {
	Args       []string          // of the binary; the first is its path in the machine
	Env        []string          // of the binary
	Dir        string            // its working directory
	UID        int               // its user and group
	Modules    []string          // names or aliases of modules to load before
	Parameters map[string]string // of modules
	Sysctls    map[string]string // by their paths below /proc/sys
	Folders    []string          // that must be there and that everybody may write
	Merged     bool              // its standard output and standard error are one
	Fetch      []string          // files and folders to send back; one that ends in * is a pattern
}

// The serial lines of the machine. The first is the console.
const (
	outputLine  = "/dev/ttyS1" // what the binary writes to standard output
	controlLine = "/dev/ttyS2" // the lines below
	errorLine   = "/dev/ttyS3" // what the binary writes to standard error
)

// What a line of the control line begins with.
const (
	saysBooted = "booted"
	saysAlive  = "alive"
	saysNote   = "note"  // something that is worth a line with -v
	saysFile   = "file"  // path in base64, permissions in octal, content in base64
	saysExit   = "exit"  // the exit status of the binary; the last line
	saysError  = "error" // why there is none; the last line
)
