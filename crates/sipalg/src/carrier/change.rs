//! Another configuration, or other addresses of the host, while calls go on.

use super::Carrier;
use crate::console::Console;
use crate::kernel::{KernelError, Plan};
use sipalg_core::alg::MappingView;
use sipalg_core::config::Config;
use sipalg_core::{FlowId, Instant};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What a change has cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    /// Mappings that have another inside global address now.
    pub moved: usize,
    /// Connections that were reset.
    pub connections: usize,
}

impl Carrier {
    /// Carries on under another plan and the machine's configuration that goes with it. Flows that
    /// have lost their address or their rule end.
    ///
    /// # Errors
    /// The kernel refuses the plan; everything is as before then.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        plan: &Plan,
        config: Config,
        console: &mut Console,
    ) -> Result<Ended, KernelError> {
        self.kernel.replan(plan)?;
        let before = self.alg.mappings(now);
        let mut reset = self.alg.reconfigure(now, config, &mut self.out);
        reset.sort_unstable();
        self.exits = exits(plan);
        self.timeouts = plan.timeouts.clone();
        self.flows.set_timeouts(&self.timeouts);
        let connections = self.reset(now, &reset);
        self.settle(now, console);
        Ok(Ended {
            moved: moved(&before, &self.alg.mappings(now)),
            connections,
        })
    }

    /// Gives an inside host an address of its pool; the machine sounds an alarm if there is none.
    pub fn assign(&mut self, now: Instant, host: Ipv4Addr) {
        self.alg.assign(now, host, &mut self.out);
    }

    /// Ends the flows of these names, in ascending order. Returns how many connections that were.
    pub(super) fn reset(&mut self, now: Instant, names: &[FlowId]) -> usize {
        let named = |flow: FlowId| names.binary_search(&flow).is_ok();
        let links = self.links.iter().filter(|(_, link)| named(link.flow));
        let links: Vec<usize> = links.map(|(key, _)| key).collect();
        for key in &links {
            let mut link = self.links.remove(*key);
            self.forget_link(link.slot);
            link.conn.abort();
            self.alg.close(now, link.flow, &mut self.out);
        }
        self.queue.retain(|key| self.links.contains(*key));
        let flows = self.flows.iter().filter(|(_, flow)| named(flow.flow));
        let flows: Vec<usize> = flows.map(|(key, _)| key).collect();
        for key in flows {
            if let Some(flow) = self.flows.remove(key) {
                self.alg.close(now, flow.flow, &mut self.out);
            }
        }
        links.len()
    }
}

/// The interfaces that the rules of a plan name, in their order.
pub(super) fn exits(plan: &Plan) -> Vec<Option<String>> {
    let sources = plan.sources.iter();
    sources.map(|source| source.interface.clone()).collect()
}

/// How many mappings have another inside global address than before.
fn moved(before: &[MappingView], after: &[MappingView]) -> usize {
    let key = |view: &MappingView| (view.protocol, view.inside_local);
    let now: BTreeMap<_, _> = after.iter().map(|v| (key(v), v.inside_global)).collect();
    let differs = |was: &&MappingView| {
        let is = now.get(&key(was));
        is.is_some_and(|is| is.ip() != was.inside_global.ip())
    };
    before.iter().filter(differs).count()
}
