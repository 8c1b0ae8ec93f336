/** The file system that the store is on, as a service. A test layer is `Layer.succeed(DiskService, …)` of a disk it can break. */
import * as Context from "effect/Context";
import * as Layer from "effect/Layer";
import type { Disk } from "./disk.ts";
import { openNodeDisk } from "./node_disk.ts";

/** The port of `disk.ts`; its methods throw or reject with StorageFailed. */
export class DiskService extends Context.Service<DiskService, Disk>()("promptmq/storage/DiskService") {
  /** The file system of the host. */
  static readonly layer = Layer.sync(DiskService, openNodeDisk);
}
