//! Real phones by a real registrar and proxy: they register, call each other, and hear each other.

use crate::harness::baresip::Baresip;
use crate::harness::kamailio::Kamailio;
use crate::harness::net::{GOUT, Net, inside_address, outside_address};

#[test]
fn without_a_gateway_in_the_way_the_peers_understand_each_other() {
    let net = Net::new();
    let (phone, proxy, other) = (net.outside(4), net.outside(2), net.outside(3));
    let kamailio = Kamailio::start(&proxy, outside_address(2));
    let mut alice = Baresip::start(&phone, outside_address(4), "alice", outside_address(2));
    let mut bob = Baresip::start(&other, outside_address(3), "bob", outside_address(2));
    alice.call("sip:bob@10.1.1.2");
    bob.wait_for_call();
    alice.wait_for_audio(50);
    bob.wait_for_audio(50);
    dbg!(alice.hang_up());
    dbg!(bob.wait_for_end());
    println!("{}", kamailio.said());
}
