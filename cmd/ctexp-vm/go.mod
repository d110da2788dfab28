module github.com/ctexp/go-ctexp/cmd/ctexp-vm

go 1.26.0

require (
	github.com/cavaliergopher/cpio v1.0.1
	github.com/klauspost/compress v1.20.4
	github.com/ulikunitz/xz v0.5.17
	golang.org/x/sys v0.44.0
)
