//! Bounds on what is compiled. Compiling costs far more than the bytes suggest: 390 KB of empty functions take 25 s.

use crate::plugin::engine::CORE_INSTANCES_MAX;
use wasmparser::{FunctionBody, Instance, InstanceSectionReader, Operator, Parser, Payload};

/// Nested modules and components.
const DEPTH_MAX: usize = 8;

/// Why the structure was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More than `max` of `what`.
    TooMany { what: &'static str, max: usize },
    /// Not well formed.
    Malformed(String),
}

/// What a component's outermost level names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surface {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Walks a whole binary component without building anything, counting.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's list of sections is open; those not named cost nothing"
)]
pub(super) fn walk(bytes: &[u8]) -> Result<Surface, Refusal> {
    let (mut surface, mut counts, mut depth) = (Surface::default(), Counts::default(), 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        counts.add(&payload)?;
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                at_most(depth, DEPTH_MAX, "levels of nested components")?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    surface.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

#[derive(Debug, Default)]
struct Counts {
    modules: usize,
    components: usize,
    instances: usize,
    core_instances: usize,
    types: usize,
    functions: usize,
    locals: usize,
    branches: usize,
    memories: usize,
    tables: usize,
    globals: usize,
    segments: usize,
    names: usize,
}

impl Counts {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser's list of sections is open; those not named cost nothing"
    )]
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::ModuleSection { .. } => raise(&mut self.modules, 1, 16, "core modules"),
            Payload::ComponentSection { .. } => raise(&mut self.components, 1, 16, "nested components"),
            Payload::InstanceSection(s) => self.add_instances(s),
            Payload::ComponentInstanceSection(s) => raise(&mut self.instances, s.count(), 128, "instances"),
            Payload::TypeSection(s) => raise(&mut self.types, s.count(), 10_000, "types"),
            Payload::CoreTypeSection(s) => raise(&mut self.types, s.count(), 10_000, "types"),
            Payload::ComponentTypeSection(s) => raise(&mut self.types, s.count(), 10_000, "types"),
            Payload::FunctionSection(s) => raise(&mut self.functions, s.count(), 20_000, "functions"),
            Payload::ComponentCanonicalSection(s) => raise(&mut self.functions, s.count(), 20_000, "functions"),
            Payload::MemorySection(s) => raise(&mut self.memories, s.count(), 1, "memories"),
            Payload::TableSection(s) => raise(&mut self.tables, s.count(), 8, "tables"),
            Payload::GlobalSection(s) => raise(&mut self.globals, s.count(), 10_000, "globals"),
            // As many as engines of the web take: a JavaScript guest carries the memory it was frozen with in 20,000.
            Payload::ElementSection(s) => raise(&mut self.segments, s.count(), 100_000, "segments"),
            Payload::DataSection(s) => raise(&mut self.segments, s.count(), 100_000, "segments"),
            Payload::ImportSection(s) => raise(&mut self.names, s.count(), 50_000, "names"),
            Payload::ExportSection(s) => raise(&mut self.names, s.count(), 50_000, "names"),
            Payload::ComponentImportSection(s) => raise(&mut self.names, s.count(), 50_000, "names"),
            Payload::ComponentExportSection(s) => raise(&mut self.names, s.count(), 50_000, "names"),
            Payload::ComponentAliasSection(s) => raise(&mut self.names, s.count(), 50_000, "names"),
            Payload::CodeSectionEntry(body) => self.add_body(body),
            _ => Ok(()),
        }
    }

    /// Counts what runs apart from what only bundles exports, of which components have many.
    fn add_instances(&mut self, section: &InstanceSectionReader<'_>) -> Result<(), Refusal> {
        raise(&mut self.instances, section.count(), 128, "instances")?;
        for instance in section.clone() {
            if matches!(instance?, Instance::Instantiate { .. }) {
                raise(&mut self.core_instances, 1, CORE_INSTANCES_MAX as usize, "core instances")?;
            }
        }
        Ok(())
    }

    fn add_body(&mut self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        at_most(body.range().len(), 512 << 10, "bytes in one function")?;
        let mut locals = 0_usize;
        for group in body.get_locals_reader()? {
            let (count, _) = group?;
            raise(&mut locals, count, 10_000, "locals in one function")?;
            raise(&mut self.locals, count, 1_000_000, "locals")?;
        }
        for operator in body.get_operators_reader()? {
            if let Operator::BrTable { targets } = operator? {
                raise(&mut self.branches, targets.len(), 65_536, "branch targets")?;
            }
        }
        Ok(())
    }
}

fn raise(total: &mut usize, by: u32, max: usize, what: &'static str) -> Result<(), Refusal> {
    *total = total.saturating_add(by as usize);
    at_most(*total, max, what)
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), Refusal> {
    if count > max { Err(Refusal::TooMany { what, max }) } else { Ok(()) }
}

impl From<wasmparser::BinaryReaderError> for Refusal {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}
