//! New rules: which mappings stay, which move, which end.

use super::{Context, MappingId, Nat, Place, Standing};
use crate::addr::{Protocol, SocketAddrV4};
use crate::config::{Config, Source};
use crate::outbox::Outbox;
use crate::timer::Key;
use alloc::vec::Vec;

impl Nat {
    /// The rules of `cx` are in force from now on. What they allow stays as it is; what they put
    /// elsewhere moves, with its door, and to the same port if that is free; the rest ends. Names what
    /// moved or ended, in order.
    pub fn renew(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Vec<MappingId> {
        self.review_addresses(cx, out);
        let (stay, change): (Vec<_>, Vec<_>) = self
            .list()
            .into_iter()
            .map(|(id, mapping)| (id, (mapping.protocol, mapping.local, mapping.global)))
            .partition(|(_, (protocol, local, global))| {
                self.allows(cx.config, *protocol, *local, *global)
            });
        let hosts = stay.iter().chain(&change);
        let hosts = hosts.filter(|(id, _)| self.standing(*id) == Some(Standing::Dynamic));
        let hosts: Vec<_> = hosts.map(|(_, (_, local, _))| *local.ip()).collect();
        self.loads.recount(&cx.config.entries, hosts.into_iter());
        for (id, _) in &stay {
            self.settle(cx, *id);
        }
        // All make way before any takes a new place.
        let mut were_open = Vec::with_capacity(change.len());
        for (id, _) in &change {
            were_open.push(self.door(*id).is_some());
            self.shut(cx, *id, out);
            self.by_global.remove(&self.mappings, *id);
        }
        for ((id, _), was_open) in change.iter().zip(were_open) {
            if !self.moves(cx, *id, out) {
                self.end(cx, *id);
            } else if was_open {
                self.reopen(cx, *id, out);
            }
        }
        self.make_static_ports(cx);
        let mut changed: Vec<_> = change.into_iter().map(|(id, _)| id).collect();
        changed.sort_unstable();
        changed
    }

    /// Makes the mappings of static ports that are not there.
    pub fn make_static_ports(&mut self, cx: &Context<'_>) {
        for rule in &cx.config.sources {
            let Source::StaticPort {
                protocol,
                local,
                global,
            } = rule.source
            else {
                continue;
            };
            if self.find_local(protocol, local).is_none()
                && self.find_global(protocol, global).is_none()
            {
                self.insert_as(cx.now, Standing::Static, protocol, local, global);
            }
        }
    }

    /// Whether such a mapping is a static port's.
    pub(super) fn standing_by_rules(
        &self,
        config: &Config,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) -> Standing {
        let mut ports = config.sources.iter().filter(|rule| !rule.is_of_hosts());
        match ports.any(|rule| rule.fixed_global(protocol, local) == Some(global)) {
            true => Standing::Static,
            false => Standing::Dynamic,
        }
    }

    fn standing(&self, id: MappingId) -> Option<Standing> {
        Some(self.get(id)?.standing)
    }

    /// Gives a mapping its place by the new rules; false if it has none.
    fn moves(&mut self, cx: &mut Context<'_>, id: MappingId, out: &mut Outbox) -> bool {
        let Some(mapping) = self.get(id) else {
            return false;
        };
        let (protocol, local, old) = (mapping.protocol, mapping.local, mapping.global);
        let global = match self.place(cx, protocol, local, None, out) {
            Ok(Place::Exact(global)) => global,
            Ok(Place::Shared(address)) => {
                let same = SocketAddrV4::new(address, old.port());
                if self.is_free(cx.config, protocol, same, *local.ip()) {
                    same
                } else {
                    let port = self.free_ports(cx.config, protocol, local, 1, address);
                    SocketAddrV4::new(address, port.unwrap_or(0))
                }
            }
            Err(_) => return false,
        };
        if global.port() == 0 || self.find_global(protocol, global).is_some() {
            return false;
        }
        self.set_global(id, global);
        self.settle(cx, id);
        true
    }

    /// Whether a mapping is static or dynamic is as the rules say.
    fn settle(&mut self, cx: &mut Context<'_>, id: MappingId) {
        let Some(mapping) = self.get(id) else {
            return;
        };
        let (protocol, local, global) = (mapping.protocol, mapping.local, mapping.global);
        let standing = self.standing_by_rules(cx.config, protocol, local, global);
        let Some(mapping) = self.mappings.get_mut(id.0) else {
            return;
        };
        let host = *local.ip();
        match (mapping.standing, standing) {
            (Standing::Dynamic, Standing::Static) => {
                mapping.standing = Standing::Static;
                cx.timers.disarm(&mut mapping.armed, Key::Mapping(id.0));
                self.loads.remove(cx, host);
            }
            (Standing::Static, Standing::Dynamic) => {
                mapping.standing = Standing::Dynamic;
                if mapping.holders == 0 {
                    let at = cx.now + cx.config.timers.mapping_idle;
                    cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
                }
                self.loads.add(cx, host);
            }
            _ => {}
        }
    }
}
