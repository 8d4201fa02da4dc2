// Rules of the shape that Docker makes: port 8080 of the gateway is published as port 80 of the
// container, which the lab's inner host plays. Written after Docker's sources and manual.

import { ADDRESSES } from "./lab.ts";

const BRIDGE = "inside";
const CONTAINER = ADDRESSES.inner;
const SUBNET = "198.51.100.0/24";

/** As Docker 27 makes them with iptables. */
export const DOCKER = `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s ${SUBNET} ! -o ${BRIDGE} -j MASQUERADE
-A DOCKER ! -i ${BRIDGE} -p tcp -m tcp --dport 8080 -j DNAT --to-destination ${CONTAINER}:80
COMMIT
*filter
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-I FORWARD 1 -j DOCKER-ISOLATION-STAGE-1
-I FORWARD 2 -o ${BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-I FORWARD 3 -o ${BRIDGE} -j DOCKER
-I FORWARD 4 -i ${BRIDGE} ! -o ${BRIDGE} -j ACCEPT
-A DOCKER -d ${CONTAINER}/32 ! -i ${BRIDGE} -o ${BRIDGE} -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
COMMIT
`;

/** As Docker 29 makes them with `"firewall-backend": "nftables"`. */
export const DOCKER_NFTABLES = `table ip docker-bridges {
  map filter-forward-in-jumps {
    type ifname : verdict
    elements = { "${BRIDGE}" : jump filter-forward-in__${BRIDGE} }
  }
  map filter-forward-out-jumps {
    type ifname : verdict
    elements = { "${BRIDGE}" : jump filter-forward-out__${BRIDGE} }
  }
  map nat-postrouting-out-jumps {
    type ifname : verdict
    elements = { "${BRIDGE}" : jump nat-postrouting-out__${BRIDGE} }
  }
  chain filter-FORWARD {
    type filter hook forward priority filter; policy accept;
    oifname vmap @filter-forward-in-jumps
    iifname vmap @filter-forward-out-jumps
  }
  chain nat-OUTPUT {
    type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local counter jump nat-prerouting-and-output
  }
  chain nat-POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept;
    iifname vmap @nat-postrouting-out-jumps
  }
  chain nat-PREROUTING {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local counter jump nat-prerouting-and-output
  }
  chain nat-prerouting-and-output {
    iifname != "${BRIDGE}" tcp dport 8080 counter dnat to ${CONTAINER}:80 comment "DNAT"
  }
  chain raw-PREROUTING {
    type filter hook prerouting priority raw; policy accept;
    iifname != "${BRIDGE}" ip daddr ${CONTAINER} counter drop comment "DROP DIRECT ACCESS"
  }
  chain filter-forward-in__${BRIDGE} {
    ct state established,related counter accept
    iifname "${BRIDGE}" counter accept comment "ICC"
    ip daddr ${CONTAINER} tcp dport 80 counter accept
    counter drop comment "UNPUBLISHED PORT DROP"
  }
  chain filter-forward-out__${BRIDGE} {
    ct state established,related counter accept
    counter accept comment "OUTGOING"
  }
  chain nat-postrouting-out__${BRIDGE} {
    oifname != "${BRIDGE}" ip saddr ${SUBNET} counter masquerade comment "MASQUERADE"
  }
}
`;
