//! What else on this host filters, helps or diverts, and would get in the way: named, never changed.
//!
//! SIP that the proxy takes does not pass through the host any more: it comes in and goes out again.
//! So it meets chains at `input` and `output`, and none at `forward`. Media goes on through `forward`.

use super::ruleset::TABLE;
use super::{CT_DOOR, KernelError, MARK_DIVERT, Plan};
use crate::netlink::nft::{BaseChain, Expression, HookPoint, Listed, Nft, Verdict};
use std::collections::HashSet;
use std::fs::read_to_string;

/// What the operator should know of other tables, in a sentence each: forward chains that SIP no longer
/// meets, input chains that would stop it, the kernel's own SIP helper, and other users of TPROXY.
pub fn findings(plan: &Plan) -> Vec<String> {
    match look(plan) {
        Ok(found) => found,
        Err(error) => vec![format!(
            "what other tables of nftables do to SIP is not known: {error}"
        )],
    }
}

fn look(plan: &Plan) -> Result<Vec<String>, KernelError> {
    let refused = |error| KernelError::refused("to list other tables", error);
    let mut nft = Nft::open().map_err(refused)?;
    let chains = nft.base_chains().map_err(refused)?;
    let helpers = nft.helpers().map_err(refused)?;
    let mut rules = nft.rules().map_err(refused)?;
    rules.retain(|rule| (rule.family, rule.table.as_str()) != ("ip", TABLE));
    let mut found = Vec::new();
    for chain in &chains {
        if (chain.family, chain.table.as_str()) != ("ip", TABLE) {
            found.extend(filtering(plan, chain, &rules));
        }
    }
    for rule in &rules {
        let helps = rule.expressions.iter().any(|expression| {
            let by_object = helpers.iter().any(|(family, table, name, helper)| {
                helper == "sip"
                    && (*family, table) == (rule.family, &rule.table)
                    && expression.name == "objref"
                    && expression.number(OBJREF_TYPE) == Some(OBJECT_CT_HELPER)
                    && expression.text(OBJREF_NAME).as_ref() == Some(name)
            });
            by_object || is_target(expression, "CT") && expression.contains(b"sip\0")
        });
        if helps {
            found.push(format!(
                "table {} {}, chain {} gives connections the kernel's own SIP helper, which would \
                 change what sipalg has changed already; delete that rule",
                rule.family, rule.table, rule.chain
            ));
        }
        let diverts = rule.expressions.iter();
        if diverts.clone().any(|e| e.name == "tproxy")
            || diverts.clone().any(|e| is_target(e, "TPROXY"))
        {
            found.push(format!(
                "table {} {}, chain {} diverts packets by TPROXY, too; except SIP's ports there, or \
                 one of both gets what is the other's",
                rule.family, rule.table, rule.chain
            ));
        }
    }
    found.extend(beside_nftables());
    found.dedup();
    Ok(found)
}

/// What nftables does not show.
fn beside_nftables() -> Vec<String> {
    let mut found = Vec::new();
    let helper = read_to_string("/proc/sys/net/netfilter/nf_conntrack_helper");
    if helper.is_ok_and(|value| value.trim() == "1") {
        found.push(
            "net.netfilter.nf_conntrack_helper=1 may give connections the kernel's own SIP helper, \
             which would change what sipalg has changed already; set it to 0"
                .into(),
        );
    }
    let legacy = read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if legacy.lines().any(|table| table == "filter") {
        found.push(format!(
            "there are rules of iptables-legacy, which sipalg cannot read; see for yourself that they \
             let in packets that have the mark bit {MARK_DIVERT:#010x}"
        ));
    }
    found
}

/// What a chain may do to SIP or media.
fn filtering(plan: &Plan, chain: &BaseChain, rules: &[Listed]) -> Option<String> {
    let seen = &mut HashSet::new();
    let drops = chain.drops || drops(plan, chain, &chain.name, rules, seen);
    let place = format!(
        "table {} {}, chain {}",
        chain.family, chain.table, chain.name
    );
    let insert = format!(
        "nft insert rule {} {} {}",
        chain.family, chain.table, chain.name
    );
    let excepts = |key: (&str, u32)| excepts(chain, rules, key);
    let is_at = |point: HookPoint| chain.hook == point as u32;
    if !drops {
        return None;
    }
    if is_at(HookPoint::Input) && !excepts(("meta", META_MARK)) {
        return Some(format!(
            "{place} drops some of what is for this host, and SIP that sipalg takes is; let it in: \
             `{insert} meta mark & {MARK_DIVERT:#010x} != 0 accept`"
        ));
    }
    if is_at(HookPoint::Forward) && !excepts(("ct", CT_MARK)) {
        return Some(format!(
            "{place} drops some of what passes, but SIP that sipalg takes does not meet it: say who may \
             come in with `ip nat service sip access-group`; and media does meet it: let it pass with \
             `{insert} ct mark & {CT_DOOR:#010x} != 0 accept`"
        ));
    }
    None
}

/// Whether a rule of the chain, or of those that it leads to, drops what may be SIP or media.
fn drops(
    plan: &Plan,
    base: &BaseChain,
    chain: &str,
    rules: &[Listed],
    seen: &mut HashSet<String>,
) -> bool {
    if !seen.insert(chain.to_owned()) {
        return false;
    }
    let own = rules.iter().filter(|rule| {
        (rule.family, &rule.table) == (base.family, &base.table) && rule.chain == chain
    });
    own.filter(|rule| concerns(plan, rule)).any(|rule| {
        let mut verdicts = rule.expressions.iter();
        match verdicts.find_map(Expression::verdict) {
            Some(Verdict::Drop) => true,
            Some(Verdict::Chain(next)) => drops(plan, base, &next, rules, seen),
            _ => false,
        }
    })
}

/// Whether a rule of the chain itself accepts by the mark `key`, as our sentences advise.
fn excepts(chain: &BaseChain, rules: &[Listed], (name, key): (&str, u32)) -> bool {
    rules.iter().any(|rule| {
        let is_here =
            (rule.family, &rule.table, &rule.chain) == (chain.family, &chain.table, &chain.name);
        let marked = rule
            .expressions
            .iter()
            .any(|e| e.name == name && e.number(LOAD_KEY) == Some(key));
        let accepts = rule.expressions.iter().find_map(Expression::verdict);
        is_here && marked && accepts == Some(Verdict::Accept)
    })
}

/// Whether packets of SIP or media can match the rule: it does not compare with something else.
fn concerns(plan: &Plan, rule: &Listed) -> bool {
    let mut loaded = Loaded::Other;
    for expression in &rule.expressions {
        match expression.name.as_str() {
            "meta" | "payload" | "ct" => loaded = Loaded::of(expression),
            "bitwise" if loaded == Loaded::State => {
                let mask = expression.value(BITWISE_MASK);
                if mask == Some(&CT_STATE_INVALID.to_ne_bytes()[..]) {
                    return false;
                }
            }
            "cmp" if expression.number(CMP_OPERATION) == Some(CMP_EQUAL) => {
                let value = expression.value(CMP_VALUE);
                if value.is_some_and(|value| !loaded.may_be(plan, value)) {
                    return false;
                }
            }
            "match" if of_invalid(expression) => return false,
            _ => {}
        }
    }
    true
}

/// What a rule compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Protocol,
    Interface,
    Port,
    State,
    Other,
}

impl Loaded {
    fn of(expression: &Expression) -> Self {
        let key = expression.number(LOAD_KEY);
        match (expression.name.as_str(), key) {
            ("meta", Some(META_L4PROTO)) => Loaded::Protocol,
            ("meta", Some(META_IIFNAME | META_OIFNAME)) => Loaded::Interface,
            ("ct", Some(CT_STATE)) => Loaded::State,
            ("payload", _) => {
                let part = [PAYLOAD_BASE, PAYLOAD_OFFSET, PAYLOAD_LENGTH];
                match part.map(|part| expression.number(part)) {
                    [Some(BASE_TRANSPORT), Some(0 | 2), Some(2)] => Loaded::Port,
                    [Some(BASE_NETWORK), Some(IP_PROTOCOL), Some(1)] => Loaded::Protocol,
                    _ => Loaded::Other,
                }
            }
            _ => Loaded::Other,
        }
    }

    /// Whether a packet of SIP or media can have this value.
    fn may_be(self, plan: &Plan, value: &[u8]) -> bool {
        match self {
            Loaded::Protocol => value == [6] || value == [17],
            Loaded::Interface => {
                let ends = value.iter().position(|byte| *byte == 0);
                let name = &value[..ends.unwrap_or(value.len())];
                let mut ours = plan.inside.iter().chain(&plan.outside);
                // Without its end, it is the beginning of names.
                ours.any(|ours| match ends {
                    Some(_) => ours.as_bytes() == name,
                    None => ours.as_bytes().starts_with(name),
                })
            }
            Loaded::Port => {
                let mut sip = plan.sip_tcp_ports.iter().chain(&plan.sip_udp_ports);
                sip.any(|port| port.to_be_bytes() == value)
            }
            Loaded::State | Loaded::Other => true,
        }
    }
}

/// iptables' `-m conntrack --ctstate INVALID`: `state_mask` of `struct xt_conntrack_mtinfo3`.
fn of_invalid(expression: &Expression) -> bool {
    let mask = expression.bytes(COMPAT_INFO).and_then(|info| {
        let mask = info.get(XT_CONNTRACK_STATE_MASK..)?.get(..2)?;
        Some(u16::from_ne_bytes(mask.try_into().ok()?))
    });
    expression.text(COMPAT_NAME).as_deref() == Some("conntrack")
        && mask == Some(CT_STATE_INVALID as u16)
}

/// Whether the expression is this target of iptables.
fn is_target(expression: &Expression, name: &str) -> bool {
    expression.name == "target" && expression.text(COMPAT_NAME).as_deref() == Some(name)
}

const LOAD_KEY: u16 = 2;
const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_MARK: u32 = 3;
const CT_STATE_INVALID: u32 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
/// Where the protocol is in the IPv4 header.
const IP_PROTOCOL: u32 = 9;
const BITWISE_MASK: u16 = 4;
const CMP_OPERATION: u16 = 2;
const CMP_EQUAL: u32 = 0;
const CMP_VALUE: u16 = 3;
const OBJREF_TYPE: u16 = 1;
const OBJREF_NAME: u16 = 2;
const OBJECT_CT_HELPER: u32 = 3;
/// Of matches and targets of iptables: name, and what it was told.
const COMPAT_NAME: u16 = 1;
const COMPAT_INFO: u16 = 3;
const XT_CONNTRACK_STATE_MASK: usize = 150;
