//! Reads what the lab needs out of the tables that the gateway shows.

use super::net::{GATEWAY_OUTSIDE, PHONE};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Inside local to inside global, from any table of the gateway's that has both on a line.
pub fn mappings(table: &str) -> BTreeMap<SocketAddrV4, SocketAddrV4> {
    let mut mappings = BTreeMap::new();
    for line in table.lines() {
        let addresses = line.split_whitespace().filter_map(|word| word.parse().ok());
        let addresses: Vec<SocketAddrV4> = addresses.collect();
        let of = |ip: Ipv4Addr| addresses.iter().find(|address| *address.ip() == ip);
        if let (Some(&local), Some(&global)) = (of(PHONE), of(GATEWAY_OUTSIDE)) {
            mappings.insert(local, global);
        }
    }
    mappings
}

/// The words of a table's line about an inside address.
pub fn row(table: &str, local: SocketAddrV4) -> Option<Vec<&str>> {
    let local = local.to_string();
    let mut rows = table.lines().map(|line| line.split_whitespace().collect());
    rows.find(|row: &Vec<&str>| row.contains(&local.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_from_a_line_with_both_addresses() {
        let table = "Pro Inside global      Inside local       Outside local      Outside global\n\
                     tcp 10.1.1.1:5060      192.168.122.3:5060 ---                ---\n\
                     udp 10.1.1.1:6002      192.168.122.3:6000 10.1.1.2:7078      10.1.1.2:7078\n";
        let mappings = mappings(table);
        assert_eq!(mappings.len(), 2);
        assert_eq!(
            mappings[&SocketAddrV4::new(PHONE, 6000)],
            SocketAddrV4::new(GATEWAY_OUTSIDE, 6002)
        );
    }

    #[test]
    fn a_row_is_found_by_its_inside_address_and_no_other() {
        let table =
            "udp 10.1.1.1:6000 192.168.122.3:60001 3\nudp 10.1.1.1:6000 192.168.122.3:6000 4\n";
        let row = row(table, SocketAddrV4::new(PHONE, 6000)).unwrap();
        assert_eq!(row.last(), Some(&"4"));
        assert_eq!(super::row(table, SocketAddrV4::new(PHONE, 6001)), None);
    }
}
