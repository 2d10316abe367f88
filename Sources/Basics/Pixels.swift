/// Whether all pixels of a picture have one colour, as those of no face have.
///
/// - Parameter pixels: packed RGB.
package func haveOneColour(_ pixels: some Collection<UInt8>) -> Bool {
  // Each pixel is that before it.
  pixels.count > 3 && zip(pixels, pixels.dropFirst(3)).allSatisfy { $0 == $1 }
}
