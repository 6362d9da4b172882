use omnivisor::plugin::Manifest;

/// The manifests beside the crates are what is in the packed components.
#[test]
fn every_plugin_in_the_box_says_who_it_is() -> anyhow::Result<()> {
    let worlds = [
        ("auth-jwt", "omnivisor:auth/auth-strategy@0.1.0"),
        ("auth-local", "omnivisor:auth/auth-strategy@0.1.0"),
        ("auth-oidc", "omnivisor:auth/auth-strategy@0.1.0"),
        ("auth-proxy-header", "omnivisor:auth/auth-strategy@0.1.0"),
        ("auth-token", "omnivisor:auth/auth-strategy@0.1.0"),
        ("node-monit", "omnivisor:adapter/node-adapter@0.2.0"),
        ("node-supervisord", "omnivisor:adapter/node-adapter@0.2.0"),
        ("validate-change-freeze", "omnivisor:validate/input-validator@0.2.0"),
        ("validate-strict", "omnivisor:validate/input-validator@0.2.0"),
    ];
    for (name, world) in worlds {
        let component = std::fs::read(tests::plugins()?.join(format!("{name}.wasm")))?;
        let manifest = Manifest::read(name, &component)?;
        assert!(manifest.version.is_some(), "{name} has no version");
        assert_eq!(manifest.world.as_deref(), Some(world));
    }
    Ok(())
}
