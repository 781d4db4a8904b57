//! A configuration on the way to one that works: what of it can be in force already.
//!
//! IOS lets a line name an access list that comes later, and a list be typed anew while rules use
//! it. Such a line waits here instead of being refused; and what is in force already stays as it is
//! until the list is there again, so that no call is lost and nobody is let in meanwhile.

use crate::startup::{GlobalSet, SourceKind, Startup, Statement};

/// The part of a typed configuration that works, and why the rest does not yet.
pub fn split(typed: &Startup, in_force: &Startup) -> (Startup, Vec<String>) {
    let mut workable = typed.clone();
    let mut waits: Vec<String> = Vec::new();
    while let Err(conflict) = workable.check() {
        let statement = &conflict.statement;
        let reason = if statement.is_in(in_force) && keep(statement, &mut workable, in_force) {
            format!("{}; what was in force stays until then", conflict.reason)
        } else {
            statement.leave_out_of(&mut workable);
            conflict.reason
        };
        if !waits.contains(&reason) {
            waits.push(reason);
        }
    }
    (workable, waits)
}

/// Goes on with the list and the pool that are in force, where those of a statement are gone.
/// Whether there was something to go on with.
fn keep(statement: &Statement, workable: &mut Startup, in_force: &Startup) -> bool {
    let (list, pool) = match statement {
        Statement::Source(rule) => match &rule.kind {
            SourceKind::List { list, to, .. } => match to {
                GlobalSet::Pool(pool) => (Some(list), Some(pool)),
                GlobalSet::Interface(_) => (Some(list), None),
            },
            SourceKind::Static { .. } | SourceKind::StaticPort { .. } => (None, None),
        },
        Statement::AccessGroup(list)
        | Statement::MediaAccessGroup(list)
        | Statement::Trusted(list)
        | Statement::Bypass(list)
        | Statement::MaxEntries(list) => (Some(list), None),
    };
    let decides = |startup: &Startup, list: &String| {
        let compiled = startup.access_list(list);
        compiled.is_some_and(|list| !list.entries.is_empty())
    };
    let mut kept = false;
    if let Some(list) = list.filter(|list| !decides(workable, list) && decides(in_force, list)) {
        let old = in_force.lists.get(list).cloned();
        workable.lists.extend(old.map(|old| (list.clone(), old)));
        kept = true;
    }
    if let Some(pool) = pool.filter(|pool| !workable.pools.contains_key(*pool))
        && let Some(old) = in_force.pools.get(pool)
    {
        workable.pools.insert(pool.clone(), *old);
        kept = true;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Editor;

    const WORKS: &str = "\
interface gin
 ip nat inside
interface gout
 ip nat outside
access-list 1 permit any
ip nat inside source list 1 interface gout overload
access-list 7 permit 203.0.113.9
ip nat service sip access-group 7
";

    fn typed(lines: &str) -> Startup {
        let mut editor = Editor::default();
        for line in WORKS.lines().chain(lines.lines()) {
            editor.line(line).unwrap();
        }
        editor.startup
    }

    #[test]
    fn what_lacks_something_waits_and_the_rest_works() {
        let works = typed("");
        assert_eq!(split(&works, &Startup::default()), (works.clone(), vec![]));
        let more = "ip nat inside source list 2 interface gout overload\n\
                    ip nat service sip media access-group 8\n\
                    ip nat service sip trusted 8\n\
                    ip nat service sip bypass 8\n\
                    ip nat translation max-entries list 8 100\n";
        let (workable, waits) = split(&typed(more), &works);
        assert_eq!(workable, works);
        assert_eq!(
            waits,
            [
                "access list 2 does not exist",
                "access list 8 does not exist"
            ]
        );
    }

    #[test]
    fn a_list_that_is_typed_anew_stays_in_force_until_it_is_there_again() {
        let works = typed("");
        let gone = typed("no access-list 1\nno access-list 7\nhostname gw");
        let (workable, waits) = split(&gone, &works);
        let expected = Startup {
            hostname: Some("gw".into()),
            ..works.clone()
        };
        assert_eq!(workable, expected);
        assert_eq!(
            waits[1],
            "access list 7 does not exist; what was in force stays until then"
        );
        let again = typed("no access-list 7\naccess-list 7 deny any");
        assert_eq!(split(&again, &works), (again, vec![]));
    }

    #[test]
    fn a_rule_whose_interface_has_lost_its_role_ends() {
        let (workable, waits) = split(&typed("interface gout\n no ip nat outside"), &typed(""));
        assert_eq!(workable.sources, []);
        assert_eq!(waits.len(), 1);
    }
}
