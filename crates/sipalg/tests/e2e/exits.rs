//! Several ways out: each call leaves by its own, with that one's address.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::net::{GOUT, GOUT2, Net};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Each list has its interface; a host is in both, and the routes decide.
const CONFIGURATION: &str = "\
interface gin
 ip nat inside
interface gout
 ip nat outside
interface gout2
 ip nat outside
access-list 1 permit 192.168.122.0 0.0.0.255
access-list 2 permit 192.168.122.0 0.0.0.255
ip nat inside source list 1 interface gout overload
ip nat inside source list 2 interface gout2 overload
";

#[test]
fn each_call_leaves_by_its_own_outside_interface_with_that_ones_address() {
    let net = Net::new();
    let (one, two, first) = (net.inside(3), net.inside(4), net.outside(2));
    let [_wire, second] = net.second_outside();
    let _gateway = Gateway::start_with(&net, CONFIGURATION);
    let other_office = SocketAddrV4::new(Ipv4Addr::new(10, 2, 2, 2), 5060);
    let offices = [(&first, office(), GOUT), (&second, other_office, GOUT2)];
    // The same phone by either, at once, and another phone.
    let mut calls = Vec::new();
    for (phone, media) in [((&one, 3), 4000), ((&two, 4), 4000)] {
        for (index, (far, office, global)) in offices.into_iter().enumerate() {
            let media = media + 10 * index as u16;
            let call = Call::make_to(phone, (far, office), media);
            assert_eq!(*call.far.remote().ip(), global);
            assert_eq!(*call.door.ip(), global);
            assert!(!call.invite.contains("192.168.122."), "{}", call.invite);
            calls.push(call);
        }
    }
    for call in &mut calls {
        call.take();
    }
    for call in &mut calls {
        call.talk();
    }
}
