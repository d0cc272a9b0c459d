import { loadEncoder } from '../../encoder/model_files.js'
import { exportEncoder, exportFinetuned, type OnnxOptions } from '../../export/onnx.js'
import { Device } from '../../runtime/device.js'
import { finetunedOf } from '../../transfer/finetune/finetuned.js'
import { writeFileAtomic } from '../../util/files.js'
import { defineCommand } from '../command.js'

export const exportCommand = defineCommand({
  name: 'export',
  about: 'an encoder, with its head if it has one, as ONNX',
  options: {
    model: { kind: 'text', value: 'DIR', required: true, about: 'folder that pretrain or finetune wrote' },
    onnx: { kind: 'text', value: 'FILE', required: true, writes: 'file', about: 'the file to write' },
    operators: {
      kind: 'text',
      oneOf: ['standard', 'onnxruntime'],
      about: 'those of ONNX alone, or the faster ones of onnxruntime too',
      fallback: 'standard',
    },
  },
  async run(values, { signal, threads }) {
    const device = new Device({ kind: 'cpu', threads })
    try {
      const loaded = await loadEncoder(values.model, { device })
      signal.throwIfAborted()
      const options = { operators: values.operators as OnnxOptions['operators'] }
      const { encoder, head } = loaded
      const bytes = head ? await exportFinetuned(finetunedOf(loaded), options) : await exportEncoder(encoder, options)
      await writeFileAtomic(values.onnx, [bytes])
      return { onnx: values.onnx, bytes: bytes.length, outputs: head ? ['vectors', 'scores'] : ['vectors'] }
    } finally {
      device.close()
    }
  },
  show({ onnx, bytes, outputs }) {
    return `${(bytes / 1e6).toFixed(1)} MB, outputs ${outputs.join(' and ')}: ${onnx}\n`
  },
})
