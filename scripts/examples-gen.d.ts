/** Code that protoc-gen-es would make of a service, for examples that import it. */

declare module '*/intake_pb.js' {
  import type { Message } from '@bufbuild/protobuf';
  import type { GenMessage, GenService } from '@bufbuild/protobuf/codegenv2';

  type Patient = Message<'clinic.v1.Patient'> & { id: string };
  type SubmitRequest = Message<'clinic.v1.SubmitRequest'> & { patient?: Patient };
  type SubmitResponse = Message<'clinic.v1.SubmitResponse'> & { caseId: string };
  const submitRequest: GenMessage<SubmitRequest>;
  const submitResponse: GenMessage<SubmitResponse>;

  export const Intake: GenService<{
    submit: { methodKind: 'unary'; input: typeof submitRequest; output: typeof submitResponse };
  }>;
}
