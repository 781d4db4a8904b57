//! Laws of inside globals that no interface has: pools and static rules.

use crate::gateway::{Gateway, PATIENCE, accepted};
use crate::running::{CONFIGURATION, Running};
use crate::tcp::{hears, hears_message, says};
use crate::udp::{self, options};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

laws![
    a_connection_leaves_from_an_address_of_the_pool,
    datagrams_leave_from_an_address_of_the_pool,
    a_host_gets_an_address_of_its_own_with_its_first_packet,
    a_pool_that_is_exhausted_names_the_host,
    an_inside_server_is_reached_at_its_static_address_and_port,
];

const RULE: &str = "ip nat inside source list 1 interface gout overload\n";
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 20), 6060);

fn a_connection_leaves_from_an_address_of_the_pool() {
    let (gateway, _running) = with("ip nat inside source list 1 pool P overload");
    let server = gateway.outside.listen(5060);
    let mut phone = gateway
        .phone
        .connect(40_000, gateway.outside.at(5060))
        .unwrap();
    let (mut outside, peer, _) = accepted(&server);
    assert!(is_of_pool(peer) && peer.port() == 40_000, "{peer}");
    let request = options(gateway.phone.at(40_000), "").replace("UDP", "TCP");
    says(&mut phone, request.as_bytes());
    let heard = hears_message(&mut outside);
    assert!(heard.contains(&format!("TCP {peer};")), "{heard}");
    says(&mut outside, b"\r\n\r\n");
    hears(&mut phone, b"\r\n\r\n");
}

fn datagrams_leave_from_an_address_of_the_pool() {
    let (gateway, _running) = with("ip nat inside source list 1 pool P overload");
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    udp::says(
        &phone,
        &options(gateway.phone.at(5060), ""),
        gateway.outside.at(5060),
    );
    let (heard, from) = udp::hears(&server);
    assert!(is_of_pool(from.into()) && from.port() == 5060, "{from}");
    assert!(heard.contains(&format!("UDP {from};")), "{heard}");
    udp::says(&server, "hello", from);
    assert_eq!(
        udp::hears(&phone),
        ("hello".into(), gateway.outside.at(5060))
    );
}

fn a_host_gets_an_address_of_its_own_with_its_first_packet() {
    let (gateway, _running) = with("ip nat inside source list 1 pool P");
    let server = gateway.outside.udp(5060);
    let mut seen = Vec::new();
    for host in [&gateway.phone, &gateway.second] {
        let phone = host.udp(5060);
        let from = heard_at_last(&phone, &server, gateway.outside.at(5060));
        assert!(is_of_pool(from.into()) && from.port() == 5060, "{from}");
        udp::says(&server, "hello", from);
        assert_eq!(
            udp::hears(&phone),
            ("hello".into(), gateway.outside.at(5060))
        );
        seen.push(*from.ip());
    }
    assert_ne!(seen[0], seen[1]);
    // It is the same address for what is no SIP.
    let (server, phone) = (gateway.outside.udp(9000), gateway.phone.udp(9000));
    udp::says(&phone, "hello", gateway.outside.at(9000));
    assert_eq!(udp::hears(&server).1, SocketAddrV4::new(seen[0], 9000));
}

fn a_pool_that_is_exhausted_names_the_host() {
    let rule = "ip nat inside source list 1 pool ONE";
    let (gateway, mut running) = with(rule);
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    let from = heard_at_last(&phone, &server, gateway.outside.at(5060));
    udp::says(&gateway.second.udp(5060), "hello", gateway.outside.at(5060));
    running.wait_for("sipalg: no inside global address is free for 192.168.123.2");
    // What works goes on.
    udp::says(&server, "hello", from);
    assert_eq!(udp::hears(&phone).0, "hello");
}

fn an_inside_server_is_reached_at_its_static_address_and_port() {
    let rule = "ip nat inside source static tcp 192.168.122.2 5060 10.1.1.20 6060\n\
                ip nat inside source static udp 192.168.122.2 5060 10.1.1.20 6060";
    let (gateway, _running) = with(rule);
    let server = gateway.phone.listen(5060);
    let mut caller = gateway.outside.connect(0, SERVER).unwrap();
    let (mut called, peer, _) = accepted(&server);
    assert_eq!(peer, caller.local_addr().unwrap());
    let request = options(gateway.outside.at(7000), "").replace("UDP", "TCP");
    says(
        &mut caller,
        request
            .replace("sip:b@x", &format!("sip:b@{SERVER}"))
            .as_bytes(),
    );
    let heard = hears_message(&mut called);
    assert!(
        heard.starts_with("OPTIONS sip:b@192.168.122.2:5060 "),
        "{heard}"
    );

    let (server, caller) = (gateway.phone.udp(5060), gateway.outside.udp(7000));
    let request = options(gateway.outside.at(7000), "");
    udp::says(&caller, &request, SERVER);
    let (heard, from) = udp::hears(&server);
    assert_eq!((heard, from), (request.clone(), gateway.outside.at(7000)));
    udp::says(&server, &udp::answer(&request), from);
    assert_eq!(udp::hears(&caller), (udp::answer(&request), SERVER));
}

/// A gateway with this rule instead of the interface's.
fn with(rule: &str) -> (Gateway, Running) {
    let pools = "ip nat pool P 10.1.1.16 10.1.1.19 prefix-length 24\n\
                 ip nat pool ONE 10.1.1.30 10.1.1.30 prefix-length 24\n";
    let configuration = CONFIGURATION.replace(RULE, &format!("{pools}{rule}\n"));
    assert_ne!(configuration, CONFIGURATION);
    let gateway = Gateway::bare();
    let running = Running::start_with(&gateway, &configuration);
    (gateway, running)
}

/// Speaks until it is heard: the first packet may be what the host gets its address for.
fn heard_at_last(phone: &UdpSocket, server: &UdpSocket, to: SocketAddrV4) -> SocketAddrV4 {
    server
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; 64];
    // On a busy machine what another phone said more than once may still be on its way.
    let text = format!("hello of {}", phone.local_addr().unwrap());
    loop {
        udp::says(phone, &text, to);
        if let Ok((length, SocketAddr::V4(from))) = server.recv_from(&mut buffer)
            && buffer[..length] == *text.as_bytes()
        {
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            return from;
        }
        assert!(Instant::now() < end, "it is never heard");
    }
}

fn is_of_pool(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else {
        return false;
    };
    let octets = address.ip().octets();
    octets[..3] == [10, 1, 1] && (16..=19).contains(&octets[3])
}
