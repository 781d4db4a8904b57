//! What the operator takes out of the table.

use super::{Context, Mapping, MappingId, Nat, Standing};
use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::Resource;
use crate::outbox::Outbox;
use alloc::vec::Vec;

/// Which translations `clear ip nat translation` is about. Static ones are never ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clear {
    /// `*`: all that are dynamic.
    All,
    /// `inside GLOBAL LOCAL`: all between these two addresses.
    Host {
        /// What the outside sees.
        global: Ipv4Addr,
        /// The inside host.
        local: Ipv4Addr,
    },
    /// `{tcp | udp} inside GLOBAL PORT LOCAL PORT`: this one.
    One {
        /// Its transport protocol.
        protocol: Protocol,
        /// What the outside sees.
        global: SocketAddrV4,
        /// The inside host's own address.
        local: SocketAddrV4,
    },
}

/// What has come of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    /// The mappings that ended, in order.
    pub mappings: Vec<MappingId>,
    /// How many addresses of pools are free again.
    pub addresses: usize,
    /// How many stay, since flows, calls, registrations or mappings need them.
    pub in_use: usize,
}

impl Clear {
    fn has(&self, mapping: &Mapping) -> bool {
        match *self {
            Clear::All => true,
            Clear::Host { global, local } => {
                (*mapping.global.ip(), *mapping.local.ip()) == (global, local)
            }
            Clear::One {
                protocol,
                global,
                local,
            } => (mapping.protocol, mapping.global, mapping.local) == (protocol, global, local),
        }
    }

    fn has_address(&self, of: Ipv4Addr, own: Ipv4Addr) -> bool {
        match *self {
            Clear::All => true,
            Clear::Host { global, local } => (own, of) == (global, local),
            Clear::One { .. } => false,
        }
    }
}

impl Nat {
    /// Ends what is dynamic of `which`, with its doors; only what nobody needs, unless `forced`.
    pub fn clear(
        &mut self,
        cx: &mut Context<'_>,
        which: Clear,
        forced: bool,
        out: &mut Outbox,
    ) -> Ended {
        let mut ended = Ended::default();
        let list = self.list().into_iter();
        let meant = list.filter(|(_, m)| m.standing == Standing::Dynamic && which.has(m));
        let (free, held): (Vec<_>, Vec<_>) = meant
            .map(|(id, mapping)| (id, mapping.holders > 0))
            .partition(|(_, held)| forced || !held);
        ended.in_use = held.len();
        for (id, _) in free {
            self.shut(cx, id, out);
            self.end(cx, id);
            ended.mappings.push(id);
        }
        ended.mappings.sort_unstable();
        let assigned: Vec<_> = self.assigned().map(|(host, a)| (host, a.global)).collect();
        for (host, _) in assigned
            .into_iter()
            .filter(|(host, own)| which.has_address(*host, *own))
        {
            // Its mappings are its children.
            if cx.admission.of_host(Resource::Mapping, host) > 0 {
                ended.in_use += 1;
            } else {
                self.take_back(cx, host, out);
                ended.addresses += 1;
            }
        }
        ended
    }
}
