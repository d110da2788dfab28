import fcntl, logging, os, socket, struct, sys, time
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.layers.inet import IP, TCP

name, n, pause = sys.argv[1].encode(), int(sys.argv[2]), float(sys.argv[3])
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", name, 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", name, 1))  # SIOCSIFFLAGS, IFF_UP
t = time.perf_counter()
for i in range(n):
    os.write(fd, bytes(IP(src="198.18.0.2", dst="192.0.2.1") / TCP(sport=1024 + i % 60000, dport=80, flags="S")))
    if pause:
        time.sleep(pause)
print(time.perf_counter() - t)
