//! What can go wrong, in one sentence each for the operator.

use super::PathBuf;
use crate::netlink::{Error, attribute, text_of};
use nix::errno::Errno;
use std::path::Path;

/// Why the kernel does not do what we want.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// `EPERM`.
    #[error(
        "no permission to change the kernel's network settings; run as root or with CAP_NET_ADMIN"
    )]
    NotPermitted,
    /// A part of the kernel is not built or cannot be loaded.
    #[error("this kernel lacks {what}; it needs the option {option}, or its module loaded")]
    Missing {
        /// The missing part.
        what: String,
        /// The kernel's configuration option for it.
        option: &'static str,
    },
    /// Someone else has the state directory.
    #[error("another sipalg is running with the state directory {0}")]
    Running(PathBuf),
    /// A file of ours or of the kernel's.
    #[error("cannot {doing} {path}: {error}")]
    File {
        /// `read`, `write` and the like.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Anything else that the kernel says no to.
    #[error("the kernel refuses {what}: {error}")]
    Refused {
        /// What we asked for.
        what: &'static str,
        /// What it said.
        error: Error,
    },
}

impl KernelError {
    /// The sentence for the refusal `error` of `what`.
    pub(super) fn refused(what: &'static str, error: Error) -> Self {
        if matches!(error.errno, Errno::EPERM | Errno::EACCES) {
            return KernelError::NotPermitted;
        }
        match missing(&error) {
            Some((what, option)) => KernelError::Missing { what, option },
            None => KernelError::Refused { what, error },
        }
    }

    /// Whether the kernel does not know what was to be changed, because someone has taken it away.
    pub fn is_gone(&self) -> bool {
        matches!(self, KernelError::Refused { error, .. } if error.errno == Errno::ENOENT)
    }

    /// The sentence for `error` on one of our files or the kernel's.
    pub(super) fn file(doing: &'static str, path: &Path, error: std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        if denied && path.starts_with("/proc") {
            return KernelError::NotPermitted;
        }
        KernelError::File {
            doing,
            path: path.into(),
            error,
        }
    }
}

/// The part that the kernel lacks, told from how it refuses a ruleset.
fn missing(error: &Error) -> Option<(String, &'static str)> {
    match (error.errno, &error.offending) {
        (Errno::EPROTONOSUPPORT, _) => {
            Some(("netfilter's netlink".into(), "CONFIG_NETFILTER_NETLINK"))
        }
        (Errno::EOPNOTSUPP, None) => Some(("nftables".into(), "CONFIG_NF_TABLES")),
        (Errno::EAFNOSUPPORT, _) => Some(("nftables for IPv4".into(), "CONFIG_NF_TABLES_IPV4")),
        (Errno::ENOENT, Some((CHAIN_TYPE, kind))) => {
            let kind = text_of(kind);
            Some((
                format!("nftables chains of the type `{kind}`"),
                "CONFIG_NFT_NAT",
            ))
        }
        (Errno::ENOENT, Some((LIST_ELEMENT, expression))) => {
            let name = text_of(attribute(expression, EXPRESSION_NAME)?);
            // Elements of sets are list elements too, and begin with their key.
            if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            let option = match name.as_str() {
                "tproxy" => "CONFIG_NFT_TPROXY",
                "fib" => "CONFIG_NFT_FIB_IPV4",
                "socket" => "CONFIG_NFT_SOCKET",
                "ct" => "CONFIG_NFT_CT",
                "nat" => "CONFIG_NFT_NAT",
                "masq" => "CONFIG_NFT_MASQ",
                "connlimit" => "CONFIG_NFT_CONNLIMIT",
                "limit" => "CONFIG_NFT_LIMIT",
                "log" => "CONFIG_NFT_LOG and CONFIG_NETFILTER_NETLINK_LOG",
                _ => "CONFIG_NF_TABLES",
            };
            Some((format!("the nftables expression `{name}`"), option))
        }
        _ => None,
    }
}

/// NFTA_CHAIN_TYPE.
const CHAIN_TYPE: u16 = 7;
/// NFTA_LIST_ELEM, which holds an expression.
const LIST_ELEMENT: u16 = 1;
/// NFTA_EXPR_NAME.
const EXPRESSION_NAME: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Message;

    #[test]
    fn a_missing_expression_is_named_with_its_kernel_option() {
        let expression = Message::new(0, 0, &[]).text(EXPRESSION_NAME, "tproxy");
        let error = Error {
            errno: Errno::ENOENT,
            message: None,
            offending: Some((LIST_ELEMENT, expression.body().to_vec())),
        };
        let sentence = KernelError::refused("the rules", error).to_string();
        assert_eq!(
            sentence,
            "this kernel lacks the nftables expression `tproxy`; \
             it needs the option CONFIG_NFT_TPROXY, or its module loaded",
        );
    }

    #[test]
    fn missing_privilege_is_told_as_such() {
        let error = KernelError::refused("the rules", Errno::EPERM.into());
        assert!(matches!(error, KernelError::NotPermitted), "{error}");
    }
}
