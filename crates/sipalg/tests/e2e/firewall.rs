//! The operator's own nftables stays in force: media meets it, and what intercepted SIP would miss
//! or be stopped by is named.

use crate::harness::call::Call;
use crate::harness::gateway::Gateway;
use crate::harness::net::{Net, inside_address, outside_address};
use crate::harness::sip::Peer;
use std::net::SocketAddrV4;

#[test]
fn media_meets_the_forward_chain_and_passes_where_that_lets_it() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    net.gateway.nft(
        "table inet filter {\n chain forward {\n type filter hook forward priority 0; policy drop;\n \
         ct state established,related accept\n iifname gin oifname gout accept\n }\n }",
    );
    let gateway = Gateway::start(&net);
    let remedy = remedy(&gateway, "table inet filter, chain forward drops");
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.far_ear.say(call.door, 1);
    assert!(call.near_ear.hears_nothing(), "past the forward chain");
    net.gateway.nft(&remedy);
    call.talk();
    // By what anybody would write, too.
    net.gateway.nft(
        "flush chain inet filter forward\nadd rule inet filter forward ct status dnat accept\n\
         add rule inet filter forward iifname gin oifname gout accept",
    );
    drop(call);
    let mut call = Call::make((&phone, 3), &far, 4010);
    call.take();
    call.far_ear.say(call.door, 1);
    call.near_ear.hear(1);
    call.talk();
}

#[test]
fn an_input_chain_that_stops_intercepted_sip_is_named_with_the_remedy() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    net.gateway.nft(
        "table ip filter {\n chain input {\n type filter hook input priority 0; policy drop;\n \
         ct state established,related accept\n iifname lo accept\n }\n }",
    );
    let gateway = Gateway::start(&net);
    let remedy = remedy(&gateway, "table ip filter, chain input drops");
    let to = SocketAddrV4::new(outside_address(2), 5060);
    let from = SocketAddrV4::new(inside_address(3), 0);
    let stopped = Peer::connect_within(&phone, from, to, std::time::Duration::from_millis(500));
    assert!(stopped.is_err(), "past the input chain");
    net.gateway.nft(&remedy);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
}

#[test]
fn where_nothing_is_filtered_nothing_is_named() {
    let net = Net::new();
    net.gateway.nft(
        "table inet filter {\n chain input {\n type filter hook input priority 0; policy accept;\n \
         ct state established accept\n }\n }",
    );
    let gateway = Gateway::start(&net);
    assert!(!gateway.log().contains("drops"), "{}", gateway.log());
}

/// The command that the log advises against what it names with these words, as `nft -f` wants it.
fn remedy(gateway: &Gateway, found: &str) -> String {
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains(found));
    let line = line.unwrap_or_else(|| panic!("no {found:?} in {log}"));
    let mut commands = line.split('`');
    let command = commands.find_map(|command| command.strip_prefix("nft "));
    command
        .unwrap_or_else(|| panic!("no command in {line}"))
        .into()
}
