//! Makes Rust of `hello.proto`; without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=hello.proto");
    let files = protox::compile(["hello.proto"], ["."])?;
    Ok(tonic_prost_build::configure().build_transport(false).compile_fds(files)?)
}
