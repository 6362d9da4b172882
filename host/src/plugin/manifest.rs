//! What a component says of itself in its manifest: who it is, and what it asks for.

use crate::config::{LIMIT_KEYS, LimitOverrides, parse_origin};
use crate::model::NodeId;
use crate::plugin::LoadError;
use crate::plugin::text::clean;
use semver::Version;
use serde::Deserialize;
use std::time::Duration;
use wasmparser::{Parser, Payload};

/// The custom section that holds the manifest, as TOML.
const SECTION: &str = "omnivisor.manifest";
const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// Origins, and names of secrets, in one list.
const WISHES_MAX: usize = 16;
/// Stands among origins for all those that the operator grants: their names are not known to the plugin's author.
const CONFIGURED: &str = "configured";

/// A plugin's manifest. A component without one asks for nothing and has no version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `version`: the plugin's own.
    pub version: Option<Version>,
    /// `world`: what it was built for, e.g. `omnivisor:auth/auth-strategy@0.1.0`.
    pub world: Option<String>,
    /// `[wants]`: without these it is not loaded.
    pub wants: Wishes,
    /// `[optional]`: what it uses where it is granted, and does without otherwise.
    pub optional: Wishes,
    /// `[limits]`: those that it asks for instead of its kind's.
    pub limits: LimitOverrides,
}

/// What a plugin asks its operator for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Origins it calls, as `https://HOST[:PORT]`.
    pub http: Vec<String>,
    /// True if it calls whatever origins the operator grants.
    pub has_configured_http: bool,
    /// Secrets, by name.
    pub secrets: Vec<String>,
}

impl Wishes {
    /// Whether any origin is among them.
    #[must_use]
    pub fn has_http(&self) -> bool {
        self.has_configured_http || !self.http.is_empty()
    }

    /// Whether this origin is among them.
    pub(super) fn names_origin(&self, origin: &str) -> bool {
        self.has_configured_http || self.http.iter().any(|wanted| wanted == origin)
    }
}

impl Manifest {
    /// Reads the manifest of a binary component, and the default if it has none.
    ///
    /// # Errors
    /// [`LoadError::Malformed`] if it is no component, [`LoadError::Manifest`] if its manifest makes no sense or is
    /// another plugin's.
    pub fn read(plugin: &str, component: &[u8]) -> Result<Self, LoadError> {
        Face::of(plugin, component)?.manifest(plugin)
    }

    fn parse(plugin: &str, text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| clean(error.message(), 256))?;
        if written.name != plugin {
            let name = clean(&written.name, 64);
            return Err(format!(
                "it is that of `{name}`; give the file the name `{name}.wasm`, or the plugin this name"
            ));
        }
        let version = Version::parse(&written.version)
            .map_err(|error| format!("`version` is not of the form `1.2.3`: {}", clean(&error.to_string(), 128)))?;
        if written.world.len() > 128 || written.world.chars().any(char::is_control) {
            return Err("`world` has to look like `omnivisor:auth/auth-strategy@0.1.0`".to_owned());
        }
        Ok(Self {
            version: Some(version),
            world: Some(written.world),
            wants: written.wants.checked("wants")?,
            optional: written.optional.checked("optional")?,
            limits: written.limits.checked()?,
        })
    }
}

/// The manifest as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    version: String,
    world: String,
    #[serde(default)]
    wants: WrittenWishes,
    #[serde(default)]
    optional: WrittenWishes,
    #[serde(default)]
    limits: WrittenLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenWishes {
    http: Vec<String>,
    secrets: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    fuel: Option<u64>,
    time_ms: Option<u64>,
    memory_bytes: Option<u64>,
    hostcall_bytes: Option<u64>,
    calls_max: Option<u64>,
}

impl WrittenWishes {
    fn checked(self, table: &str) -> Result<Wishes, String> {
        if self.http.len() > WISHES_MAX || self.secrets.len() > WISHES_MAX {
            return Err(format!("`[{table}]` names more than {WISHES_MAX} origins or secrets"));
        }
        let mut wishes = Wishes { secrets: self.secrets, ..Wishes::default() };
        for text in self.http {
            if text == CONFIGURED {
                wishes.has_configured_http = true;
                continue;
            }
            let origin = parse_origin(&text).ok_or_else(|| {
                let text = clean(&text, 128);
                format!(
                    "`{text}` in `[{table}] http` is neither an origin such as `https://HOST[:PORT]` nor `{CONFIGURED}`"
                )
            })?;
            wishes.http.push(origin);
        }
        // The rule for a node's name is that for a secret's in the configuration.
        match wishes.secrets.iter().find(|name| NodeId::parse(name).is_err()) {
            Some(name) => Err(format!(
                "`{}` in `[{table}] secrets` is not a name: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, the first a letter \
                 or digit",
                clean(name, 64)
            )),
            None => Ok(wishes),
        }
    }
}

impl WrittenLimits {
    fn checked(self) -> Result<LimitOverrides, String> {
        let values = [self.fuel, self.time_ms, self.memory_bytes, self.hostcall_bytes, self.calls_max];
        for ((key, least, most), value) in LIMIT_KEYS.into_iter().zip(values) {
            if let Some(value) = value
                && !(least..=most).contains(&value)
            {
                return Err(format!("`{key} = {value}` in `[limits]` is out of range: {least} to {most}"));
            }
        }
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(LimitOverrides {
            fuel: self.fuel,
            time: self.time_ms.map(Duration::from_millis),
            memory_bytes: self.memory_bytes.map(size),
            hostcall_bytes: self.hostcall_bytes.map(size),
            calls_max: self.calls_max.map(size),
        })
    }
}

/// What the outermost level of a component shows of its wishes.
#[derive(Debug, Default)]
pub(super) struct Face<'a> {
    manifests: Vec<&'a [u8]>,
    pub imports: Vec<&'a str>,
    pub exports: Vec<&'a str>,
}

impl<'a> Face<'a> {
    pub(super) fn of(plugin: &str, component: &'a [u8]) -> Result<Self, LoadError> {
        walk(component)
            .map_err(|error| LoadError::Malformed { plugin: plugin.to_owned(), reason: clean(&error.to_string(), 512) })
    }

    pub(super) fn manifest(&self, plugin: &str) -> Result<Manifest, LoadError> {
        let parsed = match self.manifests.as_slice() {
            [] => return Ok(Manifest::default()),
            [bytes] if bytes.len() > MANIFEST_BYTES_MAX => {
                Err(format!("it has {} bytes, at most {MANIFEST_BYTES_MAX} are allowed", bytes.len()))
            }
            [bytes] => std::str::from_utf8(bytes)
                .map_err(|_| "it is not text in UTF-8".to_owned())
                .and_then(|text| Manifest::parse(plugin, text)),
            [_, _, ..] => Err(format!("there is more than one section `{SECTION}`")),
        };
        parsed.map_err(|reason| LoadError::Manifest { plugin: plugin.to_owned(), reason })
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's list of sections is open; the others say nothing here"
)]
fn walk(component: &[u8]) -> Result<Face<'_>, wasmparser::BinaryReaderError> {
    let (mut face, mut depth) = (Face::default(), 0_usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // A module's own custom sections are none of ours, whatever they are called.
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                face.manifests.push(section.data());
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    face.imports.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    face.exports.push(export?.name.name);
                }
            }
            _ => {}
        }
    }
    Ok(face)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        name = "auth-x"
        version = "1.2.3-rc.1"
        world = "omnivisor:auth/auth-strategy@0.1.0"
        [wants]
        http = ["https://IDP.example:443/", "configured"]
        secrets = ["client"]
        [optional]
        secrets = ["pepper"]
        [limits]
        fuel = 5
        time_ms = 40
    "#;

    fn reason(text: &str) -> String {
        Manifest::parse("auth-x", text).expect_err(text)
    }

    #[test]
    fn a_whole_manifest_is_read() {
        let manifest = Manifest::parse("auth-x", WHOLE).expect("well-formed");
        assert_eq!(manifest.version, Some(Version::parse("1.2.3-rc.1").expect("a version")));
        assert_eq!(manifest.wants.http, ["https://idp.example"]);
        assert!(manifest.wants.has_configured_http && !manifest.optional.has_http());
        assert_eq!(
            (manifest.wants.secrets.as_slice(), manifest.optional.secrets.as_slice()),
            (&["client".to_owned()][..], &["pepper".to_owned()][..])
        );
        let limits =
            LimitOverrides { fuel: Some(5), time: Some(Duration::from_millis(40)), ..LimitOverrides::default() };
        assert_eq!(manifest.limits, limits);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        let with = |from: &str, to: &str| reason(&WHOLE.replace(from, to));
        assert!(with("name = \"auth-x\"", "name = \"auth-y\"").contains("it is that of `auth-y`"));
        assert!(with("1.2.3-rc.1", "1.2").contains("`version` is not of the form"));
        assert!(with("https://IDP.example:443/", "https://a@idp").contains("neither an origin"));
        assert!(with("\"client\"", "\"../client\"").contains("is not a name"));
        assert!(with("fuel = 5", "fuel = 0").contains("`fuel = 0` in `[limits]` is out of range"));
        assert!(with("[limits]", "[limit]").contains("unknown field `limit`"));
        assert!(with("time_ms = 40", "time_ms = -1").contains("invalid value"));
        assert!(reason("").contains("missing field `name`"));
        assert!(!reason("name = ").is_empty(), "half a line is a reason too");
        let many = format!("http = [{}]", "\"https://a\",".repeat(17));
        assert!(with("http = [\"https://IDP.example:443/\", \"configured\"]", &many).contains("more than 16"));
    }

    #[test]
    fn only_the_section_of_the_component_itself_counts() {
        let read = |text: &str| Manifest::read("auth-x", &wat::parse_str(text).expect("well-formed text"));
        let manifest = r#"name = \"auth-x\"\nversion = \"1.0.0\"\nworld = \"w\""#;
        let ours = format!(r#"(component (@custom "omnivisor.manifest" "{manifest}"))"#);
        assert!(read(&ours).expect("one").version.is_some());
        let inner = format!(r#"(component (core module (@custom "omnivisor.manifest" "{manifest}")))"#);
        assert_eq!(read(&inner).expect("none"), Manifest::default());
        let twice = ours.replace("(@custom", &format!("(@custom \"omnivisor.manifest\" \"{manifest}\") (@custom"));
        assert!(read(&twice).expect_err("two").to_string().contains("more than one section"));
        let long = format!(r#"(component (@custom "omnivisor.manifest" "{}"))"#, "#".repeat(MANIFEST_BYTES_MAX + 1));
        assert!(read(&long).expect_err("long").to_string().contains("at most 65536 are allowed"));
        let binary = r#"(component (@custom "omnivisor.manifest" "\ff"))"#;
        assert!(read(binary).expect_err("no text").to_string().contains("not text in UTF-8"));
        assert!(matches!(Manifest::read("x", b"nothing"), Err(LoadError::Malformed { .. })));
    }
}
