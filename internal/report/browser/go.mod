module github.com/ctexp/go-ctexp/internal/report/browser

go 1.26.0
