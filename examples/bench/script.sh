set -e
ip tuntap add name tun0 mode tun
ip link set tun0 up
ip addr add 192.0.2.1 peer 192.0.2.2 dev tun0
ip route add 0.0.0.0/0 via 192.0.2.2 dev tun0
iptables -t raw -A PREROUTING -j CT
iptables -t mangle -A PREROUTING
iptables -t raw -A OUTPUT -p tcp --sport 80 -j DROP
tcpdump -Z root -ni any -B 16384 -ttt >/dev/null 2>&1 &
tcpdump=$!
sleep 0.3
python3 -c "$1" tun0 10 0.01
conntrack -L
iptables -nvx -t raw -L PREROUTING
iptables -nvx -t mangle -L PREROUTING
kill $tcpdump
wait $tcpdump || true
