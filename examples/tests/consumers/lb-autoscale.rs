use lb_autoscale::{Inputs, Observation, Spec, State, UnixMillis, decide, spec::Metric};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let active = Metric::external("active").average_value(8.0);
    let spec = Spec::builder("app").replicas(3..=5).metric(active).build()?;
    let inputs = Inputs::new(3).observe("active", Observation::value(31.0));
    println!("{}", decide(&spec, &mut State::default(), &inputs, UnixMillis::from_secs(0)).why());
    Ok(())
}
