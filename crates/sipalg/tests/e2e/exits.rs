//! Several ways out: each call leaves by its own, with that one's address.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::net::{GOUT, GOUT2, Net};
use crate::harness::sip::{header, uri_target};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The other office, which only the second way leads to.
const OTHER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 2, 2, 2), 5060);

#[test]
fn each_hosts_calls_leave_by_its_own_outside_interface_with_that_ones_address() {
    call_by_both(
        "access-list 1 permit host 192.168.122.3\naccess-list 2 permit host 192.168.122.4\n",
        [(1, GOUT), (2, GOUT2)],
    );
}

#[test]
fn where_lists_tell_destinations_apart_calls_leave_by_the_interface_of_theirs() {
    let lists = "access-list 101 permit ip 192.168.122.0 0.0.0.255 10.1.1.0 0.0.0.255\n\
                 access-list 102 permit ip 192.168.122.0 0.0.0.255 10.2.2.0 0.0.0.255\n";
    call_by_both(lists, [(101, GOUT), (102, GOUT2)]);
}

/// Two phones, each with a call by its way, at once.
fn call_by_both(lists: &str, ways: [(u8, Ipv4Addr); 2]) {
    let net = Net::new();
    let (one, two, first) = (net.inside(3), net.inside(4), net.outside(2));
    let [_wire, second] = net.second_outside();
    let [(first_list, _), (second_list, _)] = ways;
    let _gateway = Gateway::start_with(
        &net,
        &format!(
            "interface gin\n ip nat inside\ninterface gout\n ip nat outside\n\
             interface gout2\n ip nat outside\n{lists}\
             ip nat inside source list {first_list} interface gout overload\n\
             ip nat inside source list {second_list} interface gout2 overload\n"
        ),
    );
    let calls = [
        ((&one, 3), (&first, office())),
        ((&two, 4), (&second, OTHER)),
    ];
    let mut calls = calls.map(|(phone, far)| Call::make_to(phone, far, 4000));
    for (call, (_, global)) in calls.iter_mut().zip(ways) {
        let contact = uri_target(header(&call.invite, "Contact").expect("a Contact"));
        let seen = [*call.far.remote().ip(), *call.door.ip(), *contact.ip()];
        assert_eq!(seen, [global; 3]);
        assert!(!call.invite.contains("192.168.122."), "{}", call.invite);
        // Each is the only one there.
        assert_eq!(call.door.port(), 4000);
        call.take();
    }
    for call in &mut calls {
        call.talk();
    }
}
