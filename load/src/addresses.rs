//! From which addresses connections come. An address has some 28,000 ports for connections to one server; on a loopback interface
//! there are as many addresses as one likes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// How many ports of an address are used; some others may be in use.
const SHARE: f64 = 0.8;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// Not every server is on a loopback interface.
    can_spread: bool,
    /// How many connections come from one address.
    ports: u32,
    /// How many there were.
    used: u32,
    worker: u32,
    workers: u32,
}

impl Addresses {
    /// Returns the addresses of one of several workers, for connections to a server.
    pub(crate) fn of(server: SocketAddr, worker: u32, workers: u32) -> Self {
        let can_spread = matches!(server.ip(), IpAddr::V4(address) if address.is_loopback());
        let ports = crate::number::whole(f64::from(local_ports()) * SHARE);
        Self { can_spread, ports: u32::try_from(ports).unwrap_or(1).max(1), used: 0, worker, workers }
    }

    /// Returns the address of the next connection; `None` leaves it to the kernel.
    pub(crate) fn next(&mut self) -> Option<IpAddr> {
        let used = self.used;
        // Connections end as well, so that there are enough long before this comes round.
        self.used = (used + 1) % (self.ports * 64);
        if !self.can_spread {
            return None;
        }
        // The first address of the first worker is that which the kernel takes, with a choice of ports that binding would spoil.
        let number = used / self.ports * self.workers + self.worker;
        let last = u8::try_from(number % 253).unwrap_or_default();
        (number > 0)
            .then(|| IpAddr::V4(Ipv4Addr::new(127, 0, u8::try_from(number / 253 % 255).unwrap_or_default(), 1 + last)))
    }
}

/// Returns how many ports the kernel chooses from.
pub(crate) fn local_ports() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|bound| bound.parse::<u32>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) + 1,
        _ => 28_232,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_a_loopback_address_come_from_several() {
        let mut addresses = Addresses { ports: 2, ..Addresses::of(SocketAddr::from(([127, 0, 0, 1], 80)), 0, 1) };
        let found: Vec<String> =
            (0..5).map(|_| addresses.next().map_or_else(String::new, |ip| ip.to_string())).collect();
        assert_eq!(found, ["", "", "127.0.0.2", "127.0.0.2", "127.0.0.3"]);
        let mut other = Addresses::of(SocketAddr::from(([127, 0, 0, 1], 80)), 1, 3);
        assert_eq!(other.next().map(|ip| ip.to_string()).as_deref(), Some("127.0.0.2"));
    }

    #[test]
    fn all_others_come_from_where_the_kernel_likes() {
        for server in ["192.0.2.1:80", "[::1]:80"] {
            assert_eq!(Addresses::of(server.parse().unwrap(), 1, 2).next(), None);
        }
    }
}
