use lb_gpu::{NvmlProbe, Sampler};

#[tokio::main]
async fn main() {
    let sampler = Sampler::start(NvmlProbe::detect());
    match sampler.ready().await.absence() {
        Some(reason) => println!("no GPU: {reason}"),
        None => println!("{} devices", sampler.latest().devices.len()),
    }
}
