//! `[plugin.NAME]`: what the operator grants to single plugins.

use crate::config::check::{LIMIT_KEYS, check_name, check_path};
use crate::config::schema::{LimitOverrides, OnFailure, PluginConfig};
use crate::config::secret::{SecretError, SecretSource};
use crate::config::section::{Report, Section};
use crate::model::{Role, Secret};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

const ORIGINS_MAX: usize = 16;
const SECRETS_MAX: usize = 16;
const SETTINGS_BYTES_MAX: usize = 64 * 1024;

/// A table `[plugin.NAME]` with its name.
type Grant<'d> = (&'d str, Range<usize>, Section<'d>);

pub(super) fn check_grants(
    tables: Vec<Grant<'_>>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> BTreeMap<String, PluginConfig> {
    tables
        .into_iter()
        .map(|(name, span, section)| {
            check_name(report, &span, section.path(), name, "a plugin's name, e.g. `[plugin.auth-jwt]`");
            (name.to_owned(), check_grant(section, report, secrets, base))
        })
        .collect()
}

fn check_grant(
    mut section: Section<'_>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> PluginConfig {
    let default = PluginConfig::default();
    let grant = PluginConfig {
        allow_http: check_origins(&mut section, report),
        secrets: check_secrets(section.table(report, "secrets"), report, secrets, base),
        role_max: check_role(&mut section, report).unwrap_or(default.role_max),
        on_failure: check_on_failure(&mut section, report).unwrap_or(default.on_failure),
        canary_permille: u32::try_from(section.integer(report, "canary_permille", 0, 0..=500)).unwrap_or(500),
        limits: check_overrides(section.section(report, "limits"), report),
        settings: check_settings(&mut section, report).unwrap_or(default.settings),
    };
    section.finish(report, &[]);
    grant
}

fn check_origins(section: &mut Section<'_>, report: &mut Report<'_>) -> Vec<String> {
    let Some((texts, span)) = section.texts(report, "allow_http") else { return Vec::new() };
    let path = section.path_of("allow_http");
    if texts.len() > ORIGINS_MAX {
        report.fault(
            &span,
            &path,
            format!("{} origins are named", texts.len()),
            format!("expected {ORIGINS_MAX} at most"),
        );
    }
    let mut origins = Vec::new();
    for (index, text) in texts.into_iter().enumerate() {
        match parse_origin(text) {
            Some(origin) => origins.push(origin),
            None => report.fault(
                &span,
                format!("{path}[{index}]"),
                "it is not an origin",
                "expected \"https://HOST\" or \"https://HOST:PORT\" (or http), without user, path or query",
            ),
        }
    }
    origins
}

/// The origin that a text is, in lower case and without the scheme's own port; none if it is more or less than one.
#[must_use]
pub fn parse_origin(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
    if matches!(uri.path(), "" | "/") && uri.query().is_none() { origin_of(&uri) } else { None }
}

/// The origin of a URL, in lower case and without the scheme's own port; none if it is not `https:` or `http:`, or has
/// user information or a port that is none.
#[must_use]
pub fn origin_of(url: &http::Uri) -> Option<String> {
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    let own_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    // What is left of the authority is a port or nothing: with user information it would not begin with the host.
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host)? {
        "" => own_port,
        rest => {
            rest.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u16>().ok()?
        }
    };
    let host = host.to_ascii_lowercase();
    match (host.as_str(), port) {
        ("", _) => None,
        (_, port) if port == own_port => Some(format!("{scheme}://{host}")),
        (_, port) => Some(format!("{scheme}://{host}:{port}")),
    }
}

fn check_secrets(
    tables: Vec<Grant<'_>>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> BTreeMap<String, Secret> {
    let mut granted = BTreeMap::new();
    if let Some((_, span, section)) = tables.get(SECRETS_MAX) {
        let problem = format!("{} secrets are named", tables.len());
        report.fault(span, section.path(), problem, format!("expected {SECRETS_MAX} at most"));
    }
    for (name, span, mut section) in tables {
        check_name(report, &span, section.path(), name, "a secret's name");
        let by_variable = section.text(report, "env").map(|(variable, span)| {
            let is_name = !variable.is_empty() && !variable.contains(['=', '\0']);
            (span, if is_name { secrets.variable(variable) } else { Err(SecretError::Unset) })
        });
        let file_span = section.span_of("file");
        let by_file = check_path(&mut section, report, "file", base)
            .zip(file_span)
            .map(|(path, span)| (span, secrets.file(&path)));
        let read = match (by_variable, by_file) {
            (Some(read), None) | (None, Some(read)) => Some(read),
            (Some(_), Some(_)) | (None, None) => {
                report.fault(&span, section.path(), "it has no one place", "expected either `env` or `file`");
                None
            }
        };
        match read {
            Some((_, Ok(secret))) => drop(granted.insert(name.to_owned(), secret)),
            Some((span, Err(error))) => {
                report.fault(&span, section.path(), error.problem(), "expected a variable or file that holds it");
            }
            None => {}
        }
        section.finish(report, &[]);
    }
    granted
}

fn check_role(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Role> {
    let (word, span) = section.text(report, "role_max")?;
    let role = Role::parse(word);
    if role.is_none() {
        let advice = "expected \"viewer\", \"operator\" or \"admin\"";
        report.fault(&span, section.path_of("role_max"), format!("{word:?} is not a role"), advice);
    }
    role
}

fn check_on_failure(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<OnFailure> {
    let (word, span) = section.text(report, "on_failure")?;
    match word {
        "refuse" => Some(OnFailure::Refuse),
        "allow" => Some(OnFailure::Allow),
        other => {
            let problem = format!("{other:?} is no policy");
            report.fault(&span, section.path_of("on_failure"), problem, "expected \"refuse\" or \"allow\"");
            None
        }
    }
}

fn check_overrides(mut section: Section<'_>, report: &mut Report<'_>) -> LimitOverrides {
    let mut limit = |key, range: RangeInclusive<u64>| {
        section.span_of(key).map(|_| section.integer(report, key, *range.start(), range.clone()))
    };
    let [fuel, time, memory, hostcall, calls] = LIMIT_KEYS.map(|(key, least, most)| limit(key, least..=most));
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let overrides = LimitOverrides {
        fuel,
        time: time.map(Duration::from_millis),
        memory_bytes: memory.map(size),
        hostcall_bytes: hostcall.map(size),
        calls_max: calls.map(size),
    };
    section.asked(&LIMIT_KEYS.map(|(key, _, _)| key));
    section.finish(report, &[]);
    overrides
}

fn check_settings(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let (settings, span) = section.json(report, "settings")?;
    if settings.len() > SETTINGS_BYTES_MAX {
        let problem = format!("it has {} bytes as JSON", settings.len());
        report.fault(&span, section.path_of("settings"), problem, format!("expected {SETTINGS_BYTES_MAX} at most"));
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for (text, origin) in [
            ("https://idp.example", Some("https://idp.example")),
            ("https://IDP.example:443/", Some("https://idp.example")),
            ("https://idp.example:8443", Some("https://idp.example:8443")),
            ("http://127.0.0.1:80", Some("http://127.0.0.1")),
            ("http://[::1]:9000", Some("http://[::1]:9000")),
            ("idp.example", None),
            ("ftp://idp.example", None),
            ("https://ann:pw@idp.example", None),
            ("https://idp.example/path", None),
            ("https://idp.example/?q", None),
            ("https://idp.example#x", None),
            ("https://idp.example:", None),
            ("https://idp.example:99999", None),
            ("https://idp.example:+443", None),
            ("https://idp.example:443:443", None),
            ("https://ann@idp.example", None),
            ("https://:443", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(parse_origin(text).as_deref(), origin, "{text}");
        }
    }
}
