//! Which TCP connections go to the proxy.

use crate::gateway::{
    Gateway, accepted, close, dial, global, heard, listener, open, plan_with, proxy,
};
use crate::net::{Host, source};
use sipalg::kernel::CT_TAKEN;
use sipalg::netlink::nft::{self, Hook, HookPoint, Nft, Rule};
use sipalg_core::config::Source;
use sipalg_core::{Door, DoorKind, DoorOp, Protocol};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

laws![
    a_sip_port_on_either_end_takes_a_crossing_connection,
    another_port_passes_as_any_connection,
    the_gateways_own_services_stay_its_own,
    a_connection_between_inside_hosts_is_not_taken,
    a_host_that_the_list_denies_is_not_taken,
    an_inside_host_addressed_directly_from_outside_is_taken,
    a_taken_connection_works_with_syn_cookies,
    strict_reverse_path_checks_that_heed_marks_do_no_harm,
    a_leg_dialled_with_an_outside_address_gets_its_answers,
    a_leg_from_an_address_that_is_only_routed_here_gets_its_answers,
    a_new_connection_to_a_signalling_door_is_taken_while_it_is_open,
    an_inside_host_may_knock_at_a_signalling_door,
    without_a_proxy_connections_pass_as_any_other,
    a_connection_opened_while_we_were_away_lives_on,
    a_taken_connection_never_leaves_untranslated_when_the_proxy_is_gone,
];

/// Both ends hear each other.
fn talk(mut one: &TcpStream, mut other: &TcpStream) {
    let mut buffer = [0; 4];
    one.write_all(b"ping").unwrap();
    other.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
    other.write_all(b"pong").unwrap();
    one.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
}

/// `from` connects to `to`, and the proxy gets it with both addresses as they were.
fn taken(from: &Host, port: u16, to: SocketAddrV4) {
    let proxy = proxy();
    let client = from.connect(port, to).unwrap();
    let (server, peer, local) = accepted(&proxy);
    assert_eq!((peer, local), (client.local_addr().unwrap(), to.into()));
    talk(&client, &server);
}

/// `from` connects to a listener of `to`, which sees it come from `seen_from`.
fn passes(from: &Host, port: u16, to: &Host, to_port: u16, seen_from: SocketAddrV4) {
    let _proxy = proxy();
    let ear = to.listen(to_port);
    let client = from.connect(port, to.at(to_port)).unwrap();
    let (server, peer, _) = accepted(&ear);
    assert_eq!(peer, seen_from.into());
    talk(&client, &server);
}

fn a_sip_port_on_either_end_takes_a_crossing_connection() {
    let (gateway, _kernel) = Gateway::installed();
    taken(&gateway.phone, 0, gateway.outside.at(5060));
    taken(&gateway.phone, 0, gateway.outside.at(8000));
    taken(&gateway.phone, 5060, gateway.outside.at(7777));
    taken(&gateway.second, 5062, gateway.outside.at(5060));
}

fn another_port_passes_as_any_connection() {
    let (gateway, _kernel) = Gateway::installed();
    passes(&gateway.phone, 40_000, &gateway.outside, 80, global(40_000));
}

fn the_gateways_own_services_stay_its_own() {
    let (gateway, _kernel) = Gateway::installed();
    let _proxy = proxy();
    for own in ["192.168.122.1:5060", "192.168.123.1:5060", "10.1.1.1:5060"] {
        let own: SocketAddrV4 = own.parse().unwrap();
        let service = listener(own);
        let client = gateway.phone.connect(5061, own).unwrap();
        let (server, peer, _) = accepted(&service);
        assert_eq!(peer, gateway.phone.at(5061).into());
        talk(&client, &server);
    }
    // From outside, also where the client uses a SIP port.
    let service = listener(global(8000));
    let client = gateway.outside.connect(5060, global(8000)).unwrap();
    talk(&client, &accepted(&service).0);
}

fn a_connection_between_inside_hosts_is_not_taken() {
    let (gateway, _kernel) = Gateway::installed();
    passes(
        &gateway.phone,
        5061,
        &gateway.second,
        5060,
        gateway.phone.at(5061),
    );
}

fn a_host_that_the_list_denies_is_not_taken() {
    let (gateway, _kernel) = Gateway::installed();
    passes(
        &gateway.denied,
        5061,
        &gateway.outside,
        5060,
        gateway.denied.at(5061),
    );
    passes(
        &gateway.outside,
        5061,
        &gateway.denied,
        5060,
        gateway.outside.at(5061),
    );
    // Odd, so that the mask with holes leaves it out; and denied before it would be permitted.
    for last in [3, 4] {
        let exception = gateway.second.with_address([192, 168, 123, last].into());
        passes(&exception, 5061, &gateway.outside, 5060, exception.at(5061));
    }
    let even = gateway.second.with_address([192, 168, 123, 6].into());
    taken(&even, 5061, gateway.outside.at(5060));
}

fn an_inside_host_addressed_directly_from_outside_is_taken() {
    let (gateway, _kernel) = Gateway::installed();
    taken(&gateway.outside, 0, gateway.phone.at(5060));
    taken(&gateway.outside, 5060, gateway.phone.at(7777));
    passes(
        &gateway.outside,
        5061,
        &gateway.phone,
        7778,
        gateway.outside.at(5061),
    );
}

fn a_taken_connection_works_with_syn_cookies() {
    let (gateway, _kernel) = Gateway::installed();
    std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap();
    taken(&gateway.phone, 0, gateway.outside.at(5060));
    taken(&gateway.outside, 0, gateway.phone.at(5060));
}

fn strict_reverse_path_checks_that_heed_marks_do_no_harm() {
    let (gateway, _kernel) = Gateway::installed();
    for (setting, value) in [("src_valid_mark", "1"), ("rp_filter", "1")] {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{setting}"), value).unwrap();
    }
    taken(&gateway.phone, 0, gateway.outside.at(5060));
    taken(&gateway.outside, 0, gateway.phone.at(5060));
}

fn a_leg_dialled_with_an_outside_address_gets_its_answers() {
    let (gateway, _kernel) = Gateway::installed();
    let ear = gateway.phone.listen(5060);
    let leg = dial(gateway.outside.at(37_545), gateway.phone.at(5060));
    let (server, peer, _) = accepted(&ear);
    assert_eq!(peer, gateway.outside.at(37_545).into());
    talk(&leg, &server);
}

fn a_leg_from_an_address_that_is_only_routed_here_gets_its_answers() {
    let global = Ipv4Addr::new(198, 51, 100, 7);
    let rule = Source::Static {
        local: Ipv4Addr::new(192, 168, 122, 2),
        global,
        prefix: 32,
    };
    let mut plan = plan_with(vec![rule], true);
    plan.sources[0].alias = false;
    let (gateway, _kernel) = Gateway::with(&plan);
    let ear = gateway.outside.listen(5060);
    let leg = dial(SocketAddrV4::new(global, 37_545), gateway.outside.at(5060));
    let (server, peer, _) = accepted(&ear);
    assert_eq!(peer, SocketAddrV4::new(global, 37_545).into());
    talk(&leg, &server);
    // And it is reached there as any static host.
    taken(&gateway.outside, 0, SocketAddrV4::new(global, 5060));
    let phone = gateway.phone.udp(4000);
    let outside = gateway.outside.udp(7000);
    let to = SocketAddrV4::new(global, 4000);
    heard(&outside, to, &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, to);
}

fn signalling(gateway: &Gateway, port: u16) -> Door {
    Door {
        kind: DoorKind::Signalling,
        protocol: Protocol::Tcp,
        inside_local: gateway.phone.at(5060),
        inside_global: global(port),
        lifetime: Duration::from_secs(100),
    }
}

fn a_new_connection_to_a_signalling_door_is_taken_while_it_is_open() {
    let (gateway, mut kernel) = Gateway::installed();
    let door = signalling(&gateway, 5070);
    open(&mut kernel, door);
    taken(&gateway.outside, 0, global(5070));
    kernel.apply(&[], &[DoorOp::Refresh(door)]).unwrap();
    taken(&gateway.outside, 0, global(5070));
    close(&mut kernel, door);
    let _proxy = proxy();
    let refused = gateway.outside.connect(0, global(5070)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // Again and for nothing: no error.
    close(&mut kernel, door);
}

fn an_inside_host_may_knock_at_a_signalling_door() {
    let (gateway, mut kernel) = Gateway::installed();
    open(&mut kernel, signalling(&gateway, 5070));
    taken(&gateway.second, 0, global(5070));
}

fn without_a_proxy_connections_pass_as_any_other() {
    let (gateway, _kernel) = Gateway::installed();
    let ear = gateway.outside.listen(5060);
    let client = gateway
        .phone
        .connect(40_000, gateway.outside.at(5060))
        .unwrap();
    let (server, peer, _) = accepted(&ear);
    assert_eq!(peer, global(40_000).into());
    talk(&client, &server);
}

fn a_connection_opened_while_we_were_away_lives_on() {
    let (gateway, _kernel) = Gateway::installed();
    let ear = gateway.outside.listen(5060);
    let client = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    let (server, _, _) = accepted(&ear);
    talk(&client, &server);
    let _proxy = proxy();
    talk(&client, &server);
}

fn a_taken_connection_never_leaves_untranslated_when_the_proxy_is_gone() {
    let (gateway, _kernel) = Gateway::installed();
    let witness = gateway.outside.capture();
    let proxy = proxy();
    let client = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    let (server, _, _) = accepted(&proxy);
    // The client must not learn that the proxy dies, or it would send nothing more.
    let hook = Hook {
        kind: "filter",
        at: HookPoint::Output,
        priority: 0,
    };
    let mute = Rule::new().connection_marked(CT_TAKEN).drop();
    Nft::open()
        .unwrap()
        .commit(vec![
            nft::add_table("mute"),
            nft::add_chain("mute", "mute", Some(hook)),
            nft::add_rule("mute", "mute", mute, &[]),
        ])
        .unwrap();
    drop((server, proxy));
    (&client).write_all(b"anyone there?").unwrap();
    drop(client);
    let marker = UdpSocket::bind("0.0.0.0:0").unwrap();
    marker.send_to(b"end", gateway.outside.at(9)).unwrap();
    for packet in witness.until(b"end") {
        assert_ne!(source(&packet), gateway.phone.address, "leaked: {packet:?}");
    }
}
