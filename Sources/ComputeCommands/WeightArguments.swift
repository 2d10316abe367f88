package import ArgumentParser
package import Generation

/// How a transformer's weights are kept where a device does not hold them as they are.
package struct WeightArguments: ParsableArguments {
  @Flag(name: .customLong("fp8"), help: "Live Avatar: compute most linear layers in 8 bits.")
  package var float8 = false

  @Flag(
    help: ArgumentHelp(
      "Live Avatar: keep the transformer's layers in host memory.",
      discussion:
        "Each layer is copied to the device ahead of its use: for a GPU that does not hold the model. The video is the same."
    ))
  package var offload = false

  @Option(
    help: ArgumentHelp(
      "Put so many of the transformer's layers on each of several GPUs that follow each other.",
      discussion: """
        For GPUs that do not hold the model; they compute one after the other. 20 of 40 layers take the GPU of --device and the one behind it; \
        with --pipeline the process of LOCAL_RANK r takes 2r and 2r + 1. The video is the same. Not with --offload.
        """, valueName: "n"))
  package var layersPerDevice: Int?

  package init() {}

  package var options: WeightOptions {
    WeightOptions(float8: float8, offload: offload, layersPerDevice: layersPerDevice)
  }
}
