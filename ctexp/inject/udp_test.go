package inject_test

import "fmt"

func ExampleFlow_UDP() {
	fmt.Println(web6.UDP([]byte("hello")))
	// Output: IP6 2001:db8::2.10000 > 2001:db8::1.80: UDP, length 5
}
