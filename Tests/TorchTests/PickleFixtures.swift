import Foundation

/// What torch.save wrote for a dictionary with numbers, a nested state dictionary with views, a parameter, a scalar, an empty
/// and an expanded tensor, fp8 values and `_metadata`: `data.pkl`, and the records of its storages.
enum PickleFixtures {
  static let protocol2 = decode(
    """
    gAJ9cQAoWAUAAABlcG9jaHEBSwNYAgAAAGxycQJHP7mZmZmZmZpYAwAAAGJpZ3EDigkAAAAAAAAAAEBYBAAAAG5vbmVxBE5YBQAAAGJldGFzcQVH
    P+zMzMzMzM1HP++uFHrhR66GcQZYBAAAAHNpemVxB2N0b3JjaApTaXplCnEISwJLA4ZxCYVxClJxC1gFAAAAZHR5cGVxDGN0b3JjaApmbG9hdDE2
    CnENWAoAAABzdGF0ZV9kaWN0cQ5jY29sbGVjdGlvbnMKT3JkZXJlZERpY3QKcQ8pUnEQKFgFAAAAcGxhaW5xEWN0b3JjaC5fdXRpbHMKX3JlYnVp
    bGRfdGVuc29yX3YyCnESKChYBwAAAHN0b3JhZ2VxE2N0b3JjaApGbG9hdFN0b3JhZ2UKcRRYAQAAADBxFVgDAAAAY3B1cRZLBnRxF1FLAEsCSwOG
    cRhLA0sBhnEZiWgPKVJxGnRxG1JxHFgKAAAAdHJhbnNwb3NlZHEdaBIoKGgTaBRoFWgWSwZ0cR5RSwBLA0sChnEfSwFLA4ZxIIloDylScSF0cSJS
    cSNYBgAAAGNvbHVtbnEkaBIoKGgTaBRoFWgWSwZ0cSVRSwFLAoVxJksDhXEniWgPKVJxKHRxKVJxKlgDAAAAcm93cStoEigoaBNoFGgVaBZLBnRx
    LFFLA0sDhXEtSwGFcS6JaA8pUnEvdHEwUnExWAkAAABwYXJhbWV0ZXJxMmN0b3JjaC5fdXRpbHMKX3JlYnVpbGRfcGFyYW1ldGVyCnEzaBIoKGgT
    aBRYAQAAADFxNGgWSwJ0cTVRSwBLAoVxNksBhXE3iWgPKVJxOHRxOVJxOohoDylScTuHcTxScT1YBgAAAHNjYWxhcnE+aBIoKGgTY3RvcmNoCkxv
    bmdTdG9yYWdlCnE/WAEAAAAycUBoFksBdHFBUUsAKSmJaA8pUnFCdHFDUnFEWAUAAABlbXB0eXFFaBIoKGgTaBRYAQAAADNxRmgWSwB0cUdRSwBL
    AEsDhnFISwNLAYZxSYloDylScUp0cUtScUxYCAAAAGV4cGFuZGVkcU1oEigoaBNoFFgBAAAANHFOaBZLAXRxT1FLAEsDhXFQSwCFcVGJaA8pUnFS
    dHFTUnFUWAMAAABmcDhxVWN0b3JjaC5fdXRpbHMKX3JlYnVpbGRfdGVuc29yX3YzCnFWKChoE2N0b3JjaC5zdG9yYWdlClVudHlwZWRTdG9yYWdl
    CnFXWAEAAAA1cVhoFksCdHFZUUsASwKFcVpLAYVxW4loDylScVxjdG9yY2gKZmxvYXQ4X2U0bTNmbgpxXXRxXlJxX3V9cWBYCQAAAF9tZXRhZGF0
    YXFhfXFiWAAAAABxY31xZFgHAAAAdmVyc2lvbnFlSwFzc3NidS4=
    """)

  static let protocol5 = decode(
    """
    gAWVVgMAAAAAAAB9lCiMBWVwb2NolEsDjAJscpRHP7mZmZmZmZqMA2JpZ5SKCQAAAAAAAAAAQIwEbm9uZZROjAViZXRhc5RHP+zMzMzMzM1HP++u
    FHrhR66GlIwEc2l6ZZSMBXRvcmNolIwEU2l6ZZSTlEsCSwOGlIWUUpSMBWR0eXBllIwFdG9yY2iUjAdmbG9hdDE2lJOUjApzdGF0ZV9kaWN0lIwL
    Y29sbGVjdGlvbnOUjAtPcmRlcmVkRGljdJSTlClSlCiMBXBsYWlulIwMdG9yY2guX3V0aWxzlIwSX3JlYnVpbGRfdGVuc29yX3YylJOUKCiMB3N0
    b3JhZ2WUaAiMDEZsb2F0U3RvcmFnZZSTlIwBMJSMA2NwdZRLBnSUUUsASwJLA4aUSwNLAYaUiWgVKVKUdJRSlIwKdHJhbnNwb3NlZJRoGigoaBto
    HWgeaB9LBnSUUUsASwNLAoaUSwFLA4aUiWgVKVKUdJRSlIwGY29sdW1ulGgaKChoG2gdaB5oH0sGdJRRSwFLAoWUSwOFlIloFSlSlHSUUpSMA3Jv
    d5RoGigoaBtoHWgeaB9LBnSUUUsDSwOFlEsBhZSJaBUpUpR0lFKUjAlwYXJhbWV0ZXKUaBiMEl9yZWJ1aWxkX3BhcmFtZXRlcpSTlGgaKChoG2gd
    jAExlGgfSwJ0lFFLAEsChZRLAYWUiWgVKVKUdJRSlIhoFSlSlIeUUpSMBnNjYWxhcpRoGigoaBtoCIwLTG9uZ1N0b3JhZ2WUk5SMATKUaB9LAXSU
    UUsAKSmJaBUpUpR0lFKUjAVlbXB0eZRoGigoaBtoHYwBM5RoH0sAdJRRSwBLAEsDhpRLA0sBhpSJaBUpUpR0lFKUjAhleHBhbmRlZJRoGigoaBto
    HYwBNJRoH0sBdJRRSwBLA4WUSwCFlIloFSlSlHSUUpSMA2ZwOJRoGIwSX3JlYnVpbGRfdGVuc29yX3YzlJOUKChoG4wNdG9yY2guc3RvcmFnZZSM
    DlVudHlwZWRTdG9yYWdllJOUjAE1lGgfSwJ0lFFLAEsChZRLAYWUiWgVKVKUaA+MDWZsb2F0OF9lNG0zZm6Uk5R0lFKUdX2UjAlfbWV0YWRhdGGU
    fZSMAJR9lIwHdmVyc2lvbpRLAXNzc2J1Lg==
    """)

  static let storages: [[UInt8]] = [
    ([0, 1, 2, 3, 4, 5] as [Float]).withUnsafeBytes { Array($0) },
    ([1.5, -2] as [Float]).withUnsafeBytes { Array($0) },
    [7, 0, 0, 0, 0, 0, 0, 0], [], ([1] as [Float]).withUnsafeBytes { Array($0) }, [0x38, 0x40],
  ]

  private static func decode(_ text: String) -> [UInt8] {
    Array(Data(base64Encoded: text, options: .ignoreUnknownCharacters) ?? Data())
  }
}
