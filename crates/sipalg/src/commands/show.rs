//! `show ...`: gathers what a view needs, and has it rendered.

use super::{Debug, Gateway, Watch, clear, configuration};
use crate::keeper::supervise::main_process;
use crate::log;
use crate::services;
use crate::store::clock::Moment;
use sipalg_core::Instant;
use sipalg_ios::exec::WhichMessage;
use sipalg_ios::session::DEFAULT_HOSTNAME;
use sipalg_ios::show::{
    self, AccessLists, Doors, Format, Gathered, Pools, Ports, RunningConfig, Statistics,
    TechSupport, Version, View, Which, render,
};
use sipalg_ios::{Exec, running};
use std::rc::Rc;
use std::{env, fs};

/// Shows what is asked for; nothing, if it is nothing to be shown.
pub(super) fn show(
    gateway: &mut impl Gateway,
    watch: &Watch,
    now: Instant,
    exec: &Exec,
    format: Format,
) -> String {
    let shown = Shown {
        gateway,
        watch,
        now,
    };
    shown.render(exec, format)
}

struct Shown<'a, G> {
    gateway: &'a mut G,
    watch: &'a Watch,
    now: Instant,
}

impl<G: Gateway> Shown<'_, G> {
    fn render(mut self, exec: &Exec, format: Format) -> String {
        fn to<V: View>(format: Format) -> impl Fn(V) -> String {
            move |view| render(&view, format)
        }
        match exec {
            Exec::ShowTranslations(which) => to(format)(self.translations(*which)),
            Exec::ShowStatistics => to(format)(self.statistics()),
            Exec::ShowPools(name) => to(format)(self.pools(name.as_deref())),
            Exec::ShowAccessLists(name) => to(format)(self.access_lists(name.as_deref())),
            Exec::ShowSipDoors => to(format)(self.doors()),
            Exec::ShowSipCounters => to(format)(self.counters()),
            Exec::ShowSipConnections => to(format)(self.connections()),
            Exec::ShowSipResources => to(format)(self.resources()),
            Exec::ShowSipLimits => to(format)(self.limits()),
            Exec::ShowSipPorts => to(format)(self.ports()),
            Exec::ShowSipStore => to(format)(self.store()),
            Exec::ShowSipKernel => to(format)(self.kernel()),
            Exec::ShowRunningConfig => to(format)(self.running_config()),
            Exec::ShowStartupConfig => configuration::show_saved(self.gateway, format),
            Exec::ShowVersion => to(format)(self.version()),
            Exec::ShowDebugging => to(format)(self.debugging()),
            Exec::ShowSipMessages => to(format)(self.messages()),
            Exec::ShowSipMessage { which, diff } => match self.message(*which, *diff) {
                Some(view) => to(format)(view),
                None => "% That message is not kept\n".into(),
            },
            Exec::ShowSipCalls => to(format)(self.calls()),
            Exec::ShowSipCall(name) => match self.call(name) {
                Some(view) => to(format)(view),
                None => "% That call is not known\n".into(),
            },
            Exec::ShowSipRegistrations => to(format)(self.registrations()),
            Exec::ShowTechSupport => to(format)(self.tech_support()),
            _ => String::new(),
        }
    }

    fn calls(&mut self) -> show::Calls {
        let views = self.gateway.carrier().alg().calls();
        let heard = self.gateway.media_heard(self.now);
        show::calls(&views, self.now, |at| heard.get(&at).copied())
    }

    fn call(&mut self, name: &str) -> Option<show::Call> {
        let views = self.gateway.carrier().alg().calls();
        let heard = self.gateway.media_heard(self.now);
        show::call(&views, name, self.now, |at| heard.get(&at).copied())
    }

    fn registrations(&mut self) -> show::Registrations {
        let now = self.now;
        let alg = self.gateway.carrier().alg();
        show::registrations(&alg.registrations(), alg.unreachable(), now)
    }

    fn messages(&mut self) -> show::Messages {
        show::messages(self.gateway.carrier().alg().messages(), self.now)
    }

    fn message(&mut self, which: WhichMessage, diff: bool) -> Option<show::Message> {
        let now = self.now;
        let alg = self.gateway.carrier().alg();
        let message = match which {
            WhichMessage::Last => alg.messages().next_back(),
            WhichMessage::Id(id) => alg.messages().find(|message| message.id == id),
        }?;
        let (rules, behind) = (&alg.config().sources, |by| alg.rule_behind(by));
        Some(show::message(&message, rules, behind, now, diff))
    }

    fn debugging(&self) -> show::Debugging {
        let what = |debug: &Option<Rc<Debug>>| debug.as_ref().map(|debug| debug.what.clone());
        show::debugging(what(&self.watch.debug), what(&self.watch.dry_run))
    }

    fn translations(&mut self, which: Which) -> show::Translations {
        let mappings = self.gateway.carrier().alg().mappings(self.now);
        show::translations(&mappings, which, self.now)
    }

    fn statistics(&mut self) -> Statistics {
        let packets = clear::packets(self.gateway);
        let baseline = *self.gateway.baseline();
        let startup = self.gateway.startup().clone();
        let alg = self.gateway.carrier().alg();
        show::statistics(&Gathered {
            mappings: &alg.mappings(self.now),
            doors: alg.doors().len(),
            counters: &baseline.counters(&alg.counters()),
            peak: alg.peak(),
            packets: packets.map(|packets| baseline.packets(packets)),
            rules: &alg.config().sources,
            startup: &startup,
            now: self.now,
        })
    }

    fn pools(&mut self, name: Option<&str>) -> Pools {
        let baseline = *self.gateway.baseline();
        let alg = self.gateway.carrier().alg();
        let (mappings, counters) = (alg.mappings(self.now), baseline.counters(&alg.counters()));
        show::pools(self.gateway.startup(), &mappings, &counters, name)
    }

    /// A list whose matches the kernel does not tell is shown without them.
    fn access_lists(&mut self, name: Option<&str>) -> AccessLists {
        let hits = self.gateway.carrier().kernel().access_hits();
        let hits = hits.unwrap_or_else(|error| {
            log::line(format_args!(
                "cannot read the matches of access lists: {error}"
            ));
            Vec::new()
        });
        show::access_lists(self.gateway.startup(), &hits, name)
    }

    /// A door whose packets the kernel does not tell is shown without them.
    fn doors(&mut self) -> Doors {
        let carrier = self.gateway.carrier();
        let counts = carrier.kernel().media_counts().unwrap_or_else(|error| {
            log::line(format_args!("cannot read media counts: {error}"));
            Vec::new()
        });
        show::sip_doors(&carrier.alg().doors(), &counts)
    }

    fn counters(&mut self) -> show::Counts {
        show::counters(&self.gateway.carrier().alg().counters())
    }

    fn connections(&mut self) -> show::Connections {
        show::sip_connections(&self.gateway.carrier().connections(self.now))
    }

    fn resources(&mut self) -> show::Resources {
        show::resources(&self.gateway.carrier().usage())
    }

    fn limits(&mut self) -> show::Limits {
        let now = self.now;
        show::limits(&self.gateway.carrier().alg().limits(now))
    }

    fn store(&mut self) -> show::Store {
        let status = self.gateway.store();
        let ago = |moment: &Moment| Moment::now().since_boot - moment.since_boot;
        let ago = status.last_commit.as_ref().map(ago);
        show::Store {
            file: status.path.map(|path| path.display().to_string()),
            records: status.records,
            commits: status.commits,
            written_seconds_ago: ago.and_then(|ago| u64::try_from(ago / 1_000_000).ok()),
            waiting_bytes: status.waiting,
            failures: status.failures,
            trouble: status.trouble,
        }
    }

    fn kernel(&mut self) -> show::Kernel {
        let carrier = self.gateway.carrier();
        let doors_failed = carrier.alg().counters().doors_failed;
        let kernel = carrier.kernel();
        // What it does not tell is shown as unknown.
        let tracking = kernel.tracking().ok();
        let health = kernel.health();
        let last = health.last.as_ref();
        show::Kernel {
            restored: health.restored,
            restored_seconds_ago: last.map(|(at, _)| at.elapsed().as_secs()),
            restored_what: last.map(|(_, what)| what.clone()),
            doors_made: health.made,
            doors_closed: health.closed,
            refused: health.refused,
            doors_failed,
            connections: tracking.map(|of| of.used.into()),
            connections_limit: tracking.map(|of| of.most.into()),
            connections_without_room: tracking.map(|of| of.without_room),
        }
    }

    /// Without knowing what else runs here, what the configuration says is shown.
    fn ports(&mut self) -> Ports {
        let conflicts = self.gateway.conflicts();
        let startup = self.gateway.startup();
        let ports: Vec<_> = startup.sip_ports().collect();
        let services = services::others(&ports).unwrap_or_else(|error| {
            log::line(format_args!("{error}"));
            Vec::new()
        });
        show::ports(startup, &services, conflicts)
    }

    fn running_config(&mut self) -> RunningConfig {
        show::running_config(&running::config(&self.gateway.typed().startup))
    }

    fn version(&mut self) -> Version {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let hostname = self.gateway.startup().hostname.clone();
        Version {
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            target: format!("{}-{}", env::consts::ARCH, env::consts::OS),
            kernel: format!("Linux {}", release.trim()),
            hostname: hostname.unwrap_or(DEFAULT_HOSTNAME.into()),
            // The clock starts with the gateway.
            uptime_seconds: self.now.since(Instant::ZERO).as_secs(),
            process: main_process(),
            configuration_file: self.gateway.file().display().to_string(),
        }
    }

    /// Everything but secrets: their hashes would help nobody.
    fn tech_support(&mut self) -> TechSupport {
        let mut public = self.gateway.typed().startup.clone();
        if public.enable_secret.is_some() {
            public.enable_secret = Some("removed".into());
        }
        let verbose = Which {
            form: show::Form::Verbose,
            ..Which::default()
        };
        TechSupport::default()
            .with("show version", &self.version())
            .with(
                "show running-config",
                &show::running_config(&running::config(&public)),
            )
            .with("show ip nat sip ports", &self.ports())
            .with("show ip nat statistics", &self.statistics())
            .with("show ip nat pool", &self.pools(None))
            .with(
                "show ip nat translations verbose",
                &self.translations(verbose),
            )
            .with("show ip nat sip doors", &self.doors())
            .with("show ip nat sip calls", &self.calls())
            .with("show ip nat sip registrations", &self.registrations())
            .with("show ip nat sip connections", &self.connections())
            .with("show ip nat sip counters", &self.counters())
            .with("show ip nat sip resources", &self.resources())
            .with("show ip nat sip limits", &self.limits())
            .with("show ip nat sip store", &self.store())
            .with("show ip nat sip kernel", &self.kernel())
            .with("show access-lists", &self.access_lists(None))
            .with("show debugging", &self.debugging())
    }
}
