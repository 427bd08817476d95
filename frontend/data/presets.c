/* frontend/data/presets.c - preprocessings that many models were trained with, by name. A new one
 * is one row. Sizes are the model's: where a library resizes to 256 and cuts 224 out, that is
 * model/0.875. docs/preprocessing.md says where each value is from.
 */
#include "frontend/data/preprocess.h"

#define IMAGENET "mean=0.485,0.456,0.406 std=0.229,0.224,0.225"
#define CLIP     "mean=0.48145466,0.4578275,0.40821073 std=0.26862954,0.26130258,0.27577711"
#define HALF     "mean=0.5 std=0.5"
/* What torchvision's transforms do around the filter; ImageFolder does not turn pictures. */
#define SHORT_SIDE "exif=ignore color=rgb resize=short:model/0.875"
#define EVEN_CROP  "crop=model{round=even}"
#define FULL_RANGE "scale=1/255"

static const Preset presets[] = {
    {"torchvision", SHORT_SIDE " " EVEN_CROP " " FULL_RANGE " " IMAGENET,
     "torchvision's classifiers: short side 256, crop 224, ImageNet's mean and std"},
    {"timm", SHORT_SIDE "{filter=bicubic} " EVEN_CROP " " FULL_RANGE " " IMAGENET,
     "timm's defaults: torchvision's, but bicubic"},
    {"tf",
     "exif=ignore dct=fast color=rgb resize=model{engine=tf} crop=none scale=1/127.5 mean=1",
     "Keras on tf.data: stretched by tf.image.resize, x/127.5 - 1"},
    {"tf-slim",
     "exif=ignore dct=fast color=rgb resize=model{engine=tf1} crop=87.5% scale=1/127.5 mean=1",
     "TF-Slim: the middle 87.5 % stretched as TensorFlow 1 does, x/127.5 - 1"},
    {"keras", "exif=ignore color=rgb resize=model{filter=nearest} crop=none scale=1/127.5 mean=1",
     "Keras' load_img (nearest pixel, stretched), x/127.5 - 1"},
    {"caffe",
     "exif=ignore color=bgr resize=short:model/0.875{engine=opencv} crop=model "
     "mean=103.939,116.779,123.68",
     "Caffe's VGG and ResNet: BGR less the mean of each channel"},
    {"clip",
     "exif=ignore color=rgb resize=short:model{filter=bicubic} " EVEN_CROP " " FULL_RANGE " " CLIP,
     "CLIP and open_clip: bicubic, CLIP's own mean and std"},
    {"siglip", "color=rgb resize=model{filter=bicubic} crop=none " FULL_RANGE " " HALF,
     "SigLIP: stretched, bicubic, values -1 to 1"},
    {"vit", "color=rgb resize=model crop=none " FULL_RANGE " " HALF,
     "Hugging Face's ViT: stretched, values -1 to 1"},
    {"yolo",
     "color=rgb resize=letterbox:model{engine=opencv,round=even} crop=none pad=114 " FULL_RANGE,
     "Ultralytics' YOLO: letterbox on gray 114, values 0 to 1"},
    {"yolox",
     "color=bgr resize=letterbox:model{engine=opencv} crop=none pad=114{at=end}",
     "YOLOX since 0.1.1: BGR 0 to 255, padded at the right and the bottom"},
    {"mnist", "exif=ignore color=gray resize=model crop=none " FULL_RANGE " mean=0.1307 std=0.3081",
     "PyTorch's example for MNIST: gray, its mean and std"},
    {"unit", "color=rgb " FULL_RANGE, "values 0 to 1, sizes as without a preset"},
    {"raw", "", "values 0 to 255: what is done without a preset"},
};

const Preset *preset_at(int i)
{
    return i >= 0 && (size_t)i < sizeof presets / sizeof *presets ? &presets[i] : NULL;
}
