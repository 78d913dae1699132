"""The proof that the storage survives crashes: `hatch run crash`, in short in `hatch run test`.

`workloads` drive a `twin` (a storage and a plain list) while a `recorder` notes each system
call as one of the `operations`. The `disk`, a model, builds from that log every `state` that
a kill or a power cut may leave at any moment, and the `checker` loads each.
"""
