/// What the writer of the `tensorboard` package (2.21) makes of the same events, byte by byte.
enum KnownEvents {
  /// The header at 1 s; the scalar "loss" 0.5 and the image "sample" of 4×5 pixels, bytes 1, 2, 3, both of step 300 at 2 s.
  static let file = """
    1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a1b000000000000001a0d\
    9e1309000000000000004010ac022a0d0a0b0a046c6f7373150000003fdfc52b602500000000000000eabc36f30900000000\
    0000004010ac022a170a150a0673616d706c65220b08051004180322030102039940efc4
    """
  /// The start of a session at step 4 and 1 s.
  static let start = "0f000000000000006d532b0909000000000000f03f10043a020801663335ef"
}
