//! Makes Rust of `greeter.proto`; without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=greeter.proto");
    let files = protox::compile(["greeter.proto"], ["."])?;
    Ok(tonic_prost_build::configure().build_transport(false).compile_fds(files)?)
}
