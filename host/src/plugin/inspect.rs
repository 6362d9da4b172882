use crate::plugin::class::{Match, compare};
use crate::plugin::structure::{self, Refusal, Surface};
use crate::plugin::text::clean;
use crate::plugin::{LoadError, PluginClass, wasi};

/// Bytes that a component may have, whatever is configured.
pub(super) const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// Everything that can be known of a component before it is compiled: its form, its size, and what it imports and
/// exports against the world of its class.
///
/// # Errors
/// The first rule it breaks; for imports, all that are not offered.
pub(super) fn inspect(plugin: &str, class: PluginClass, bytes: &[u8]) -> Result<(), LoadError> {
    let surface = read_surface(plugin, bytes)?;
    // The wrong world first: its imports would be wrong too, and would hide what is really the matter.
    check_exports(plugin, class, &surface)?;
    check_imports(plugin, class, &surface)
}

/// What a component of any world imports and exports, once its form, size and structure are found to be in order.
///
/// # Errors
/// The first rule it breaks.
pub(super) fn read_surface(plugin: &str, bytes: &[u8]) -> Result<Surface, LoadError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { plugin: plugin.to_owned(), bytes_max: COMPONENT_BYTES_MAX as u64 });
    }
    if let Form::Other { found, advice } = form(bytes) {
        return Err(LoadError::NotComponent { plugin: plugin.to_owned(), found, advice });
    }
    structure::walk(bytes).map_err(|refusal| match refusal {
        Refusal::TooMany { what, max } => LoadError::TooComplex { plugin: plugin.to_owned(), what, max },
        Refusal::Malformed(reason) => LoadError::Malformed { plugin: plugin.to_owned(), reason: clean(&reason, 512) },
    })
}

enum Form {
    Component,
    Other { found: &'static str, advice: &'static str },
}

fn form(bytes: &[u8]) -> Form {
    let is_text = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| matches!(byte, b'(' | b';'));
    let (found, advice) = match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Form::Component,
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            ("a core module", "make it a component with `omnivisor plugin build`, `omnivisor-pack` or `make plugins`")
        }
        [0, b'a', b's', b'm', ..] => ("a WebAssembly file of an unknown version", "build it with the current tools"),
        [0x7f, b'E', b'L', b'F', ..] => {
            ("machine code", "give the component it was compiled from: components are compiled only here")
        }
        [] => ("an empty file", "build it again"),
        _ if is_text => ("WebAssembly text", "convert it to the binary format first"),
        _ => ("no WebAssembly at all", "put the component in its place"),
    };
    Form::Other { found, advice }
}

fn check_exports(plugin: &str, expected: PluginClass, surface: &Surface) -> Result<(), LoadError> {
    let is_of = |class: PluginClass, export: &str| {
        class.exports().iter().any(|served| compare(export, served) == Match::Compatible)
    };
    let has = |class: PluginClass| surface.exports.iter().any(|export| is_of(class, export));
    if has(expected) {
        return Ok(());
    }
    let plugin = plugin.to_owned();
    match PluginClass::ALL.into_iter().find(|class| has(*class)) {
        Some(found) => Err(LoadError::WrongWorld { plugin, expected, found }),
        None => Err(LoadError::NoExport { plugin, expected, exports: shown(&surface.exports) }),
    }
}

fn check_imports(plugin: &str, class: PluginClass, surface: &Surface) -> Result<(), LoadError> {
    let is_offered = |import: &String| {
        wasi::is_offered(import) || class.imports().iter().any(|offered| compare(import, offered) == Match::Compatible)
    };
    let refused: Vec<String> = surface.imports.iter().filter(|import| !is_offered(import)).cloned().collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(LoadError::ForbiddenImports { plugin: plugin.to_owned(), class, imports: shown(&refused) })
}

/// Names from a file that nobody has checked, fit for an error text.
fn shown(names: &[String]) -> Vec<String> {
    names.iter().take(8).map(|name| clean(name, 200)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(class: PluginClass, text: &str) -> Result<(), String> {
        let bytes = wat::parse_str(text).expect("well-formed text");
        inspect("x", class, &bytes).map_err(|error| error.to_string())
    }

    fn refused(bytes: &[u8]) -> String {
        inspect("x", PluginClass::Adapter, bytes).expect_err("not a component").to_string()
    }

    const NODE: &str = r#"(instance $i) (export "omnivisor:adapter/node@0.1.0" (instance $i))"#;

    #[test]
    fn only_binary_components_pass() {
        assert!(refused(b"").contains("is an empty file"));
        assert!(refused(b" \n(component)").contains("is WebAssembly text"));
        assert!(refused(b";; a comment").contains("is WebAssembly text"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("is a core module"));
        assert!(refused(b"\0asm\x0a\0\x01\0").contains("unknown version"));
        assert!(refused(b"\x7fELF\x02\x01\x01").contains("is machine code"));
        assert!(refused(b"#!/bin/sh").contains("no WebAssembly at all"));
        assert!(refused(b"\0asm\x0d\0\x01\0\xff\xff").contains("damaged"));
        assert!(refused(&vec![0; COMPONENT_BYTES_MAX + 1]).contains("larger than 67108864 bytes"));
    }

    #[test]
    fn a_plugin_of_another_world_is_told_apart_from_none() {
        assert_eq!(check(PluginClass::Adapter, &format!("(component {NODE})")), Ok(()));
        let wrong = check(PluginClass::Auth, &format!("(component {NODE})")).expect_err("an adapter");
        assert!(wrong.contains("is a `node-adapter`, an `auth-strategy` was expected"), "{wrong}");
        let none = check(PluginClass::Auth, "(component)").expect_err("nothing");
        assert!(none.contains("exports nothing, `omnivisor:auth/strategy@0.1.0` was expected"), "{none}");
        let both = "exports nothing, `omnivisor:validate/validator@0.2.0` or `omnivisor:validate/validator@0.1.0` was expected";
        let none = check(PluginClass::Validate, "(component)").expect_err("nothing");
        assert!(none.contains(both), "{none}");
        let newer = r#"(component (instance $i) (export "omnivisor:adapter/node@0.3.0" (instance $i)))"#;
        let newer = check(PluginClass::Adapter, newer).expect_err("a later contract");
        assert!(newer.contains("exports `omnivisor:adapter/node@0.3.0`, `omnivisor:adapter/node@0.2.0`"), "{newer}");
    }

    #[test]
    fn a_validator_of_each_served_version_passes_and_others_do_not() {
        let of = |version: &str| {
            let text =
                format!(r#"(component (instance $i) (export "omnivisor:validate/validator@{version}" (instance $i)))"#);
            check(PluginClass::Validate, &text)
        };
        for served in ["0.1.0", "0.1.4", "0.2.0", "0.2.1"] {
            assert_eq!(of(served), Ok(()), "{served}");
        }
        for other in ["0.0.1", "0.3.0", "1.0.0"] {
            assert!(of(other).is_err(), "{other}");
        }
    }

    #[test]
    fn an_import_that_is_not_offered_is_named_with_those_that_are() {
        let text = format!(
            r#"(component (import "omnivisor:host/log@0.1.3" (instance))
                (import "wasi:sockets/tcp@0.2.0" (instance)) (import "peek" (func)) {NODE})"#
        );
        let error = check(PluginClass::Adapter, &text).expect_err("sockets");
        assert!(error.contains("imports `wasi:sockets/tcp@0.2.0`, `peek`, which is not offered"), "{error}");
        assert!(
            error.contains("`node-adapter` offers") && error.contains("`omnivisor:host/exchange@0.1.0`"),
            "{error}"
        );
        let text = format!(r#"(component (import "omnivisor:host/accounts@0.1.0" (instance)) {NODE})"#);
        assert!(check(PluginClass::Adapter, &text).is_err(), "an adapter has no business with accounts");
    }

    #[test]
    fn what_would_take_minutes_to_compile_is_refused() {
        let functions = "(func)".repeat(20_001);
        let error = check(PluginClass::Adapter, &format!("(component {NODE} (core module {functions}))"));
        assert!(error.expect_err("too many").contains("more than 20000 functions"));
        let body = "(drop (i32.const 1))".repeat(200_000);
        let error = check(PluginClass::Adapter, &format!("(component {NODE} (core module (func {body})))"));
        assert!(error.expect_err("too long").contains("bytes in one function"));
        let targets = "0 ".repeat(65_538);
        let table = format!("(func (br_table {targets} (i32.const 0)))");
        let error = check(PluginClass::Adapter, &format!("(component {NODE} (core module {table}))"));
        assert!(error.expect_err("too wide").contains("branch targets"));
        let locals = format!("(func (local {}))", "i32 ".repeat(10_001));
        let error = check(PluginClass::Adapter, &format!("(component {NODE} (core module {locals}))"));
        assert!(error.expect_err("too many").contains("locals in one function"));
        let nested = format!("{}{}", "(component ".repeat(10), ")".repeat(10));
        let error = check(PluginClass::Adapter, &format!("(component {NODE} {nested})"));
        assert!(error.expect_err("too deep").contains("levels of nested components"));
        let memories = "(core module (memory 1))".repeat(2);
        let error = check(PluginClass::Adapter, &format!("(component {NODE} {memories})"));
        assert!(error.expect_err("too many").contains("more than 1 memories"));
    }
}
