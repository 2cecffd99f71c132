"""What the captions are made of, by language: places, movements, sizes, colours, styles, cameras.

Verb forms by language: English (finite, gerund, plural); Spanish (finite, gerund, plural); Arabic (masculine,
feminine, dual masculine, dual feminine); Chinese one. A movement is a verb that fits the object's kind, then a
direction; ``any`` fits all kinds and is what two objects share.
"""

PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "meadow": ("in a sunny meadow", "on a green meadow", "in a green field on a sunny day", "in a meadow by day"),
        "night": ("at night under the moon", "under the moon and stars", "on a starry night", "at night"),
        "beach": (
            "on a beach at sunset",
            "on the beach at sunset",
            "on a sandy beach at sunset",
            "by the sea at sunset",
        ),
        "snow": ("in the snow", "in a snowy landscape", "on a snowy winter day", "among snowy pine trees"),
        "sea": ("under the sea", "underwater", "in the sea", "at the bottom of the sea"),
        "city": ("in the city at dusk", "in a city at dusk", "on a city street at dusk", "in front of the city lights"),
        "desert": ("in the desert", "in a sandy desert", "among the dunes of the desert", "in a desert with cactuses"),
        "forest": ("in a forest", "in the forest", "in the woods", "among the trees of a forest"),
    },
    "zh": {
        "meadow": ("在阳光明媚的草地上", "在绿色的草地上", "在晴天的草原上", "在白天的草地上"),
        "night": ("在月亮和星星下", "在月光下的夜晚", "在星空下", "在夜里"),
        "beach": ("在日落的海滩上", "在日落时的沙滩上", "在夕阳下的海滩上", "在傍晚的海边"),
        "snow": ("在雪地里", "在雪中", "在冬天的雪地上", "在下过雪的松树间"),
        "sea": ("在海底", "在海里", "在水下", "在大海中"),
        "city": ("在黄昏的城市里", "在黄昏的城市街道上", "在城市的灯光前", "在傍晚的城市中"),
        "desert": ("在沙漠里", "在沙漠中", "在有仙人掌的沙漠里", "在沙丘之间"),
        "forest": ("在森林里", "在树林里", "在森林的树木之间", "在绿色的森林中"),
    },
    "es": {
        "meadow": ("en un prado soleado", "en una pradera verde", "en el campo en un día de sol", "en un prado de día"),
        "night": ("de noche bajo la luna", "bajo la luna y las estrellas", "en una noche estrellada", "de noche"),
        "beach": (
            "en una playa al atardecer",
            "en la playa al atardecer",
            "en la playa durante la puesta de sol",
            "junto al mar al atardecer",
        ),
        "snow": ("en la nieve", "en un paisaje nevado", "en un día de invierno con nieve", "entre pinos nevados"),
        "sea": ("bajo el mar", "bajo el agua", "en el mar", "en el fondo del mar"),
        "city": (
            "en la ciudad al anochecer",
            "en una ciudad al anochecer",
            "en una calle de la ciudad al anochecer",
            "ante las luces de la ciudad",
        ),
        "desert": (
            "en el desierto",
            "en un desierto de arena",
            "entre las dunas del desierto",
            "en un desierto con cactus",
        ),
        "forest": ("en un bosque", "en el bosque", "entre los árboles de un bosque", "en un bosque verde"),
    },
    "ar": {
        "meadow": ("في مرج مشمس", "في مرج أخضر", "على العشب في يوم مشمس", "في حقل أخضر نهارا"),
        "night": ("في الليل تحت القمر", "تحت القمر والنجوم", "في ليلة مليئة بالنجوم", "ليلا"),
        "beach": (
            "على الشاطئ عند الغروب",
            "على شاطئ عند غروب الشمس",
            "على شاطئ رملي عند الغروب",
            "قرب البحر عند الغروب",
        ),
        "snow": ("في الثلج", "على الثلج", "في يوم شتوي مثلج", "بين أشجار الصنوبر المغطاة بالثلج"),
        "sea": ("تحت البحر", "تحت الماء", "في البحر", "في قاع البحر"),
        "city": ("في المدينة عند الغسق", "في مدينة عند الغسق", "في شارع المدينة مساء", "أمام أضواء المدينة"),
        "desert": ("في الصحراء", "في صحراء رملية", "بين كثبان الصحراء", "في صحراء فيها صبار"),
        "forest": ("في غابة", "في الغابة", "بين أشجار الغابة", "في غابة خضراء"),
    },
}

# How each kind of object gets about level; the direction follows.
GOES: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "en": {
        "walk": (("runs", "running", "run"), ("walks", "walking", "walk")),
        "drive": (("drives", "driving", "drive"), ("rolls", "rolling", "roll")),
        "fly": (("flies", "flying", "fly"), ("glides", "gliding", "glide")),
        "swim": (("swims", "swimming", "swim"), ("glides", "gliding", "glide")),
        "any": (("moves", "moving", "move"), ("goes", "going", "go")),
    },
    "zh": {
        "walk": (("跑",), ("走",)),
        "drive": (("行驶",), ("开",)),
        "fly": (("飞",), ("飞行",)),
        "swim": (("游",), ("游动",)),
        "any": (("移动",), ("前进",)),
    },
    "es": {
        "walk": (("corre", "corriendo", "corren"), ("camina", "caminando", "caminan")),
        "drive": (("circula", "circulando", "circulan"), ("avanza", "avanzando", "avanzan")),
        "fly": (("vuela", "volando", "vuelan"), ("planea", "planeando", "planean")),
        "swim": (("nada", "nadando", "nadan"), ("avanza", "avanzando", "avanzan")),
        "any": (("se mueve", "moviéndose", "se mueven"), ("va", "yendo", "van")),
    },
    "ar": {
        "walk": (("يركض", "تركض", "يركضان", "تركضان"), ("يمشي", "تمشي", "يمشيان", "تمشيان")),
        "drive": (("يسير", "تسير", "يسيران", "تسيران"), ("ينطلق", "تنطلق", "ينطلقان", "تنطلقان")),
        "fly": (("يطير", "تطير", "يطيران", "تطيران"), ("يحلق", "تحلق", "يحلقان", "تحلقان")),
        "swim": (("يسبح", "تسبح", "يسبحان", "تسبحان"), ("يعوم", "تعوم", "يعومان", "تعومان")),
        "any": (("يتحرك", "تتحرك", "يتحركان", "تتحركان"), ("يتجه", "تتجه", "يتجهان", "تتجهان")),
    },
}

TOWARDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "left": ("to the left", "left", "from right to left"),
        "right": ("to the right", "right", "from left to right"),
    },
    "zh": {"left": ("向左", "往左", "从右向左"), "right": ("向右", "往右", "从左向右")},
    "es": {
        "left": ("hacia la izquierda", "a la izquierda", "de derecha a izquierda"),
        "right": ("hacia la derecha", "a la derecha", "de izquierda a derecha"),
    },
    "ar": {
        "left": ("إلى اليسار", "نحو اليسار", "من اليمين إلى اليسار"),
        "right": ("إلى اليمين", "نحو اليمين", "من اليسار إلى اليمين"),
    },
}

# Whole movements, whatever the kind.
DOES: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "en": {
        "up": (
            ("rises", "rising", "rise"),
            ("moves up", "moving up", "move up"),
            ("goes up", "going up", "go up"),
            ("floats upwards", "floating upwards", "float upwards"),
        ),
        "down": (
            ("falls", "falling", "fall"),
            ("moves down", "moving down", "move down"),
            ("goes down", "going down", "go down"),
            ("comes down from above", "coming down from above", "come down from above"),
        ),
        "still": (
            ("stands still", "standing still", "stand still"),
            ("stays still", "staying still", "stay still"),
            ("stays in place", "staying in place", "stay in place"),
            ("does not move", "not moving", "do not move"),
        ),
        "growing": (
            ("grows", "growing", "grow"),
            ("grows bigger", "growing bigger", "grow bigger"),
            ("gets larger", "getting larger", "get larger"),
            ("becomes bigger and bigger", "becoming bigger and bigger", "become bigger and bigger"),
        ),
        "shrinking": (
            ("shrinks", "shrinking", "shrink"),
            ("gets smaller", "getting smaller", "get smaller"),
            ("grows smaller", "growing smaller", "grow smaller"),
            ("becomes smaller and smaller", "becoming smaller and smaller", "become smaller and smaller"),
        ),
        "bouncing": (
            ("bounces", "bouncing", "bounce"),
            ("bounces up and down", "bouncing up and down", "bounce up and down"),
            ("jumps up and down", "jumping up and down", "jump up and down"),
            ("hops", "hopping", "hop"),
        ),
        "circling": (
            ("moves in a circle", "moving in a circle", "move in a circle"),
            ("circles", "circling", "circle"),
            ("goes round in circles", "going round in circles", "go round in circles"),
            ("travels around in a circle", "travelling around in a circle", "travel around in a circle"),
        ),
    },
    "zh": {
        "up": (("上升",), ("向上移动",), ("往上飘",), ("升起来",)),
        "down": (("下降",), ("向下移动",), ("往下落",), ("落下来",)),
        "still": (("静止不动",), ("一动不动",), ("停着不动",), ("待在原地",)),
        "growing": (("变大",), ("越来越大",), ("慢慢变大",), ("不断变大",)),
        "shrinking": (("变小",), ("越来越小",), ("慢慢变小",), ("不断缩小",)),
        "bouncing": (("上下弹跳",), ("蹦蹦跳跳",), ("跳来跳去",), ("上下跳动",)),
        "circling": (("转圈",), ("绕圈",), ("绕着圆圈移动",), ("画圈移动",)),
    },
    "es": {
        "up": (
            ("sube", "subiendo", "suben"),
            ("se mueve hacia arriba", "moviéndose hacia arriba", "se mueven hacia arriba"),
            ("asciende", "ascendiendo", "ascienden"),
            ("se eleva", "elevándose", "se elevan"),
        ),
        "down": (
            ("baja", "bajando", "bajan"),
            ("se mueve hacia abajo", "moviéndose hacia abajo", "se mueven hacia abajo"),
            ("desciende", "descendiendo", "descienden"),
            ("cae", "cayendo", "caen"),
        ),
        "still": (
            ("no se mueve", "sin moverse", "no se mueven"),
            ("está en reposo", "en reposo", "están en reposo"),
            ("permanece en su sitio", "permaneciendo en su sitio", "permanecen en su sitio"),
            ("se queda sin moverse", "quedándose sin moverse", "se quedan sin moverse"),
        ),
        "growing": (
            ("crece", "creciendo", "crecen"),
            ("se hace más grande", "haciéndose más grande", "se hacen más grandes"),
            ("aumenta de tamaño", "aumentando de tamaño", "aumentan de tamaño"),
            ("crece cada vez más", "creciendo cada vez más", "crecen cada vez más"),
        ),
        "shrinking": (
            ("encoge", "encogiendo", "encogen"),
            ("se hace más pequeñ{o}", "haciéndose más pequeñ{o}", "se hacen más pequeñ{o}s"),
            ("disminuye de tamaño", "disminuyendo de tamaño", "disminuyen de tamaño"),
            ("se encoge cada vez más", "encogiéndose cada vez más", "se encogen cada vez más"),
        ),
        "bouncing": (
            ("rebota", "rebotando", "rebotan"),
            ("salta", "saltando", "saltan"),
            ("salta arriba y abajo", "saltando arriba y abajo", "saltan arriba y abajo"),
            ("da saltos", "dando saltos", "dan saltos"),
        ),
        "circling": (
            ("se mueve en círculo", "moviéndose en círculo", "se mueven en círculo"),
            ("da vueltas", "dando vueltas", "dan vueltas"),
            ("gira en círculos", "girando en círculos", "giran en círculos"),
            ("describe un círculo", "describiendo un círculo", "describen un círculo"),
        ),
    },
    "ar": {
        "up": (
            ("يصعد", "تصعد", "يصعدان", "تصعدان"),
            ("يرتفع", "ترتفع", "يرتفعان", "ترتفعان"),
            ("يتحرك إلى الأعلى", "تتحرك إلى الأعلى", "يتحركان إلى الأعلى", "تتحركان إلى الأعلى"),
            ("يرتفع نحو الأعلى", "ترتفع نحو الأعلى", "يرتفعان نحو الأعلى", "ترتفعان نحو الأعلى"),
        ),
        "down": (
            ("ينزل", "تنزل", "ينزلان", "تنزلان"),
            ("يهبط", "تهبط", "يهبطان", "تهبطان"),
            ("يتحرك إلى الأسفل", "تتحرك إلى الأسفل", "يتحركان إلى الأسفل", "تتحركان إلى الأسفل"),
            ("يسقط نحو الأسفل", "تسقط نحو الأسفل", "يسقطان نحو الأسفل", "تسقطان نحو الأسفل"),
        ),
        "still": (
            ("لا يتحرك", "لا تتحرك", "لا يتحركان", "لا تتحركان"),
            ("يقف بلا حركة", "تقف بلا حركة", "يقفان بلا حركة", "تقفان بلا حركة"),
            ("يبقى في مكانه", "تبقى في مكانها", "يبقيان في مكانهما", "تبقيان في مكانهما"),
            ("يقف ساكنا", "تقف ساكنة", "يقفان ساكنين", "تقفان ساكنتين"),
        ),
        "growing": (
            ("يكبر", "تكبر", "يكبران", "تكبران"),
            ("يزداد حجمه", "يزداد حجمها", "يزداد حجمهما", "يزداد حجمهما"),
            ("يصبح أكبر", "تصبح أكبر", "يصبحان أكبر", "تصبحان أكبر"),
            ("يكبر شيئا فشيئا", "تكبر شيئا فشيئا", "يكبران شيئا فشيئا", "تكبران شيئا فشيئا"),
        ),
        "shrinking": (
            ("يصغر", "تصغر", "يصغران", "تصغران"),
            ("يتقلص حجمه", "يتقلص حجمها", "يتقلص حجمهما", "يتقلص حجمهما"),
            ("يصبح أصغر", "تصبح أصغر", "يصبحان أصغر", "تصبحان أصغر"),
            ("يصغر شيئا فشيئا", "تصغر شيئا فشيئا", "يصغران شيئا فشيئا", "تصغران شيئا فشيئا"),
        ),
        "bouncing": (
            ("يقفز", "تقفز", "يقفزان", "تقفزان"),
            ("يقفز إلى أعلى وأسفل", "تقفز إلى أعلى وأسفل", "يقفزان إلى أعلى وأسفل", "تقفزان إلى أعلى وأسفل"),
            ("يرتد صعودا وهبوطا", "ترتد صعودا وهبوطا", "يرتدان صعودا وهبوطا", "ترتدان صعودا وهبوطا"),
            ("ينط", "تنط", "ينطان", "تنطان"),
        ),
        "circling": (
            ("يدور", "تدور", "يدوران", "تدوران"),
            ("يدور في دائرة", "تدور في دائرة", "يدوران في دائرة", "تدوران في دائرة"),
            ("يتحرك في دائرة", "تتحرك في دائرة", "يتحركان في دائرة", "تتحركان في دائرة"),
            ("يلف في دوائر", "تلف في دوائر", "يلفان في دوائر", "تلفان في دوائر"),
        ),
    },
}

# Adjectives: one form, or (masculine, feminine).
SIZE_WORDS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "en": {
        "small": (("small",), ("little",), ("tiny",)),
        "medium": (("medium-sized",),),
        "large": (("large",), ("big",), ("huge",)),
    },
    "zh": {
        "small": (("小小的",), ("很小的",)),
        "medium": (("中等大小的",),),
        "large": (("大大的",), ("很大的",), ("巨大的",)),
    },
    "es": {
        "small": (("pequeño", "pequeña"), ("diminuto", "diminuta")),
        "medium": (("mediano", "mediana"),),
        "large": (("grande", "grande"), ("enorme", "enorme")),
    },
    "ar": {
        "small": (("صغير", "صغيرة"), ("صغير جدا", "صغيرة جدا")),
        "medium": (("متوسط الحجم", "متوسطة الحجم"),),
        "large": (("كبير", "كبيرة"), ("ضخم", "ضخمة")),
    },
}

COLORS = ("tan", "black", "red", "white", "blue", "orange", "gray", "green", "pink", "yellow", "brown")
COLOR_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {color: (color,) for color in COLORS},
    "zh": {
        "tan": ("棕黄色的",), "black": ("黑色的",), "red": ("红色的",), "white": ("白色的",),
        "blue": ("蓝色的",), "orange": ("橙色的",), "gray": ("灰色的",), "green": ("绿色的",),
        "pink": ("粉色的",), "yellow": ("黄色的",), "brown": ("棕色的",),
    },
    "es": {
        "tan": ("de color canela",), "black": ("negro", "negra"), "red": ("rojo", "roja"),
        "white": ("blanco", "blanca"), "blue": ("azul",), "orange": ("naranja",), "gray": ("gris",),
        "green": ("verde",), "pink": ("rosa",), "yellow": ("amarillo", "amarilla"), "brown": ("marrón",),
    },
    "ar": {
        "tan": ("بني فاتح", "بنية فاتحة"), "black": ("أسود", "سوداء"), "red": ("أحمر", "حمراء"),
        "white": ("أبيض", "بيضاء"), "blue": ("أزرق", "زرقاء"), "orange": ("برتقالي", "برتقالية"),
        "gray": ("رمادي", "رمادية"), "green": ("أخضر", "خضراء"), "pink": ("وردي", "وردية"),
        "yellow": ("أصفر", "صفراء"), "brown": ("بني", "بنية"),
    },
}  # fmt: skip

STYLE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "film noir": ("in black-and-white film noir style", "in black and white", "as a film noir"),
        "cartoon": ("in cartoon style", "as a cartoon", "drawn as a cartoon with outlines"),
        "vintage": ("in vintage film style", "as an old film with grain", "like a vintage movie"),
    },
    "zh": {
        "film noir": ("黑白电影风格", "黑色电影风格", "黑白画面"),
        "cartoon": ("卡通风格", "动画片风格", "带轮廓线的卡通画风"),
        "vintage": ("复古胶片风格", "老电影风格", "带颗粒感的老胶片风格"),
    },
    "es": {
        "film noir": ("en blanco y negro al estilo del cine negro", "en blanco y negro", "como cine negro"),
        "cartoon": ("en estilo de dibujos animados", "como un dibujo animado", "dibujado con contornos"),
        "vintage": (
            "en estilo de película antigua",
            "como una película antigua con grano",
            "con aspecto de cine antiguo",
        ),
    },
    "ar": {
        "film noir": ("بأسلوب فيلم نوار بالأبيض والأسود", "بالأبيض والأسود", "على طريقة أفلام نوار"),
        "cartoon": ("بأسلوب الرسوم المتحركة", "على شكل رسوم متحركة", "بأسلوب كرتوني"),
        "vintage": ("بأسلوب فيلم قديم", "مثل فيلم قديم محبب", "على طريقة الأفلام القديمة"),
    },
}

CAMERA_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "pan left": ("the camera pans left", "the camera moves to the left"),
        "pan right": ("the camera pans right", "the camera moves to the right"),
        "zoom in": ("the camera zooms in", "zooming in"),
        "zoom out": ("the camera zooms out", "zooming out"),
    },
    "zh": {
        "pan left": ("镜头向左移动", "摄像机向左平移"),
        "pan right": ("镜头向右移动", "摄像机向右平移"),
        "zoom in": ("镜头拉近", "镜头放大"),
        "zoom out": ("镜头拉远", "镜头缩小"),
    },
    "es": {
        "pan left": ("la cámara gira a la izquierda", "la cámara se mueve hacia la izquierda"),
        "pan right": ("la cámara gira a la derecha", "la cámara se mueve hacia la derecha"),
        "zoom in": ("la cámara se acerca", "la cámara hace zoom"),
        "zoom out": ("la cámara se aleja", "el plano se abre"),
    },
    "ar": {
        "pan left": ("تتحرك الكاميرا إلى اليسار", "تدور الكاميرا نحو اليسار"),
        "pan right": ("تتحرك الكاميرا إلى اليمين", "تدور الكاميرا نحو اليمين"),
        "zoom in": ("تقترب الكاميرا", "تقرب الكاميرا الصورة"),
        "zoom out": ("تبتعد الكاميرا", "تبعد الكاميرا الصورة"),
    },
}

# {s} subject, {v} finite verb (plural for two), {g} gerund, {p} place, {P} place with a capital; Arabic {c} the
# subject with a conjunction's pronoun is avoided by keeping the subject a noun.
SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "{s} {v} {p}",
        "{s} {g} {p}",
        "{p}, {s} {v}",
        "{s} {be} {g} {p}",
        "a video of {s} {g} {p}",
        "there {be} {s} {g} {p}",
        "{p} there {be} {s} {g}",
        "a clip in which {s} {v} {p}",
    ),
    "zh": (
        "{s}{p}{v}",
        "{p}，{s}{v}",
        "{s}正{p}{v}",
        "有{s}{p}{v}",
        "画面中，{s}{p}{v}",
        "一段视频：{s}{p}{v}",
        "视频里{s}{p}{v}",
    ),
    "es": (
        "{s} {v} {p}",
        "{s} {g} {p}",
        "{p}, {s} {v}",
        "{s} que {v} {p}",
        "un vídeo de {s} que {v} {p}",
        "hay {s} que {v} {p}",
        "{p} {v} {s}",
    ),
    "ar": (
        "{s} {v} {p}",
        "{p} {s} {v}",
        "{p}، {s} {v}",
        "هناك {s} {v} {p}",
        "مقطع فيديو يظهر فيه {s} {v} {p}",
        "نرى في الفيديو: {s} {v} {p}",
        "مشهد فيه {s} {v} {p}",
    ),
}

# How two subjects are joined.
PAIRS: dict[str, tuple[str, ...]] = {
    "en": ("{a} and {b}", "{a} next to {b}", "{a} beside {b}", "{a} together with {b}"),
    "zh": ("{a}和{b}", "{a}与{b}", "{a}跟旁边的{b}"),
    "es": ("{a} y {b}", "{a} junto a {b}", "{a} al lado de {b}"),
    "ar": ("{a} و{b}", "{a} بجانب {b}", "{a} إلى جانب {b}"),
}
