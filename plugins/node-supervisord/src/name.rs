use plugin_sdk::Fault;
use plugin_sdk::adapter::ProcessId;

/// A process's full name as supervisord takes it, `group:name`.
///
/// Only a literal one comes out of here. In `startProcess` and its kin `group:*` and `group:` mean the whole group (S2),
/// and the group ends at the *first* colon; an identity that supervisord would read as anything but this one process is
/// refused before anything is sent.
///
/// # Errors
/// `process.not_found`: no process can have that identity.
///
/// Source: supervisor's `split_namespec`.
pub(crate) fn literal(id: &ProcessId) -> Result<String, Fault> {
    let is_literal = !id.group.is_empty() && !id.group.contains(':') && !id.name.is_empty() && id.name != "*";
    if is_literal && is_writable(&id.group) && is_writable(&id.name) {
        return Ok(format!("{}:{}", id.group, id.name));
    }
    let shown = format!("{}:{}", id.group, id.name);
    Err(Fault::caller("process.not_found", format!("`{}` is not the name of one process", shown.escape_default())))
}

/// A group's name as supervisord takes it.
///
/// # Errors
/// `group.not_found`: no group can have that name.
pub(crate) fn group(name: &str) -> Result<String, Fault> {
    if !name.is_empty() && !name.contains(':') && is_writable(name) {
        return Ok(name.to_owned());
    }
    Err(Fault::caller("group.not_found", format!("`{}` is not the name of a group", name.escape_default())))
}

/// XML has no way to write some characters, and supervisord answers such a request with 400.
fn is_writable(name: &str) -> bool {
    !name.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// supervisor's own `split_namespec`: the group, and the process unless the whole group is meant.
    fn split(namespec: &str) -> (&str, Option<&str>) {
        match namespec.split_once(':') {
            Some((group, "" | "*")) => (group, None),
            Some((group, name)) => (group, Some(name)),
            None => (namespec, Some(namespec)),
        }
    }

    fn id(group: &str, name: &str) -> ProcessId {
        ProcessId { group: group.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn names_that_mean_more_or_other_than_one_process_are_refused() {
        for (group, name) in
            [("web", "*"), ("web", ""), ("", "x"), ("a:b", "c"), ("web", "a\0"), ("w\neb", "a"), ("a", "\u{ffff}")]
        {
            assert_eq!(literal(&id(group, name)).expect_err("refused").code, "process.not_found", "{group:?} {name:?}");
        }
        assert_eq!(literal(&id("web farm", "nä<&>me/1:b")), Ok("web farm:nä<&>me/1:b".to_owned()));
    }

    proptest! {
        #[test]
        fn supervisord_reads_the_name_as_the_process_that_was_meant(group in ".*|[a:*]{0,3}", name in ".*|[a:*]{0,3}") {
            if let Ok(literal) = literal(&id(&group, &name)) {
                prop_assert_eq!(split(&literal), (group.as_str(), Some(name.as_str())));
            }
        }
    }
}
