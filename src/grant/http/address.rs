//! Which addresses the whole Internet reaches: a host that a document names must have no other.

use std::net::IpAddr;

/// Is it an address that the whole Internet reaches (RFC 6890)? Of those that aren't, the ones that a network of ours may
/// use.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && (64..128).contains(&second);
            let is_odd = address.is_loopback() || address.is_private() || address.is_link_local();
            !(is_odd || shared || first == 0 || address.is_broadcast() || address.is_multicast())
        }
        IpAddr::V6(address) => {
            // An IPv4 address in the clothes of an IPv6 one (RFC 4291 §2.5.5.2, RFC 6052 §2.1).
            let segments = address.segments();
            if let Some(mapped) = address.to_ipv4_mapped() {
                return is_public(mapped.into());
            }
            if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
                let [.., a, b, c, d] = address.octets();
                return is_public([a, b, c, d].into());
            }
            let is_odd = address.is_loopback() || address.is_unspecified() || address.is_multicast();
            !(is_odd || address.is_unique_local() || address.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documents_host_is_never_within_a_private_network() {
        for private in [
            "127.0.0.1",
            "127.8.9.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
