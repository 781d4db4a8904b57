//! Commands that show how the NAT and the ALG are.

use super::Question;
use super::exec::{JSON, SHOW, SHOW_IP, SHOW_NAT, SHOW_SIP};
use crate::exec::Exec;
use crate::grammar::Part::{OneOf, Optional};
use crate::grammar::{Args, Command, Kind, keyword, value};
use crate::show::{Form, Which};
use sipalg_core::addr::Protocol;

pub(super) const TRANSLATIONS: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        keyword("translations", "Translation entries"),
        Optional(&[OneOf(&[
            &[keyword("tcp", "TCP entries")],
            &[keyword("udp", "UDP entries")],
        ])]),
        Optional(&[
            keyword("inside", "Entries of an inside host"),
            value("HOST", Kind::Address, "Its local or global address"),
        ]),
        Optional(&[OneOf(&[
            &[keyword("verbose", "Show extra information")],
            &[keyword("total", "Total number of entries")],
        ])]),
        JSON,
    ],
    no: false,
    example: "show ip nat translations udp inside 192.168.122.3 verbose",
    meaning: translations,
};

pub(super) const POOLS: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        keyword("pool", "Pools and how much of them is in use"),
        Optional(&[
            keyword("name", "One pool"),
            value("POOL", Kind::Word, "Pool name"),
        ]),
        JSON,
    ],
    no: false,
    example: "show ip nat pool name OFFICE",
    meaning: |args| Exec::ShowPools(args.text("POOL").map(String::from)),
};

pub(super) const RESOURCES: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("resources", "Tables, how full they are and may be"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip resources",
    meaning: |_| Exec::ShowSipResources,
};

pub(super) const LIMITS: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("limits", "Limits, and who is nearest to them"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip limits",
    meaning: |_| Exec::ShowSipLimits,
};

pub(super) const PORTS: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("ports", "What becomes of each SIP port, and why"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip ports",
    meaning: |_| Exec::ShowSipPorts,
};

pub(super) const STORE: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword(
            "store",
            "What would survive a restart, and where it is kept",
        ),
        JSON,
    ],
    no: false,
    example: "show ip nat sip store",
    meaning: |_| Exec::ShowSipStore,
};

pub(super) const KERNEL: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("kernel", "Whether the kernel does what it should"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip kernel",
    meaning: |_| Exec::ShowSipKernel,
};

pub(super) const TECH_SUPPORT: Command<Question> = Command {
    pattern: &[
        SHOW,
        keyword("tech-support", "Everything, for whoever shall help"),
        JSON,
    ],
    no: false,
    example: "show tech-support",
    meaning: |_| Exec::ShowTechSupport,
};

fn translations(args: &Args) -> Exec {
    let mut protocols = [Protocol::Tcp, Protocol::Udp].into_iter();
    let form = if args.has("verbose") {
        Form::Verbose
    } else if args.has("total") {
        Form::Total
    } else {
        Form::Table
    };
    Exec::ShowTranslations(Which {
        protocol: protocols.find(|of| args.has(of.name())),
        inside: args.address("HOST"),
        form,
    })
}
